//! From bytes to text. UTF-16 is read where its mark stands: a redirect in an older `PowerShell` writes it.
//!
//! A file is turned into UTF-8 as a whole, but checked document by document, so that one bad byte costs one document.

/// How a file begins that `gzip` packed (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file as UTF-8, as far as its byte order mark shows, without that mark.
pub(super) fn utf8(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err("is UTF-32; save it as UTF-8".into()),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(rest.to_vec()),
        _ if bytes.starts_with(&GZIP) => Err("is packed with gzip; unpack it first".into()),
        _ => Ok(bytes),
    }
}

/// The text of a document, or the byte within it that is none, and why.
pub(super) fn text(bytes: &[u8]) -> Result<&str, (usize, &'static str)> {
    let text = std::str::from_utf8(bytes).map_err(|error| (error.valid_up_to(), "is not UTF-8 text"))?;
    match text.find('\0') {
        Some(at) => Err((at, "holds a zero byte, so it is no text")),
        None => Ok(text),
    }
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Vec<u8>, String> {
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => unit([*a, *b]),
            // Half a unit: not valid, whatever it was.
            _ => 0xdfff,
        })
        .collect();
    String::from_utf16(&units)
        .map(String::into_bytes)
        .map_err(|_| "is marked as UTF-16, but is not; save it as UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"\xef\xbb\xbfa: 1", Ok("a: 1"))]
    #[case(b"\xff\xfea\0:\0", Ok("a:"))]
    #[case(b"\xfe\xff\0a", Ok("a"))]
    #[case(b"\xff\xfea", Err("is marked as UTF-16, but is not; save it as UTF-8"))]
    #[case(b"\xff\xfe\0\0a\0\0\0", Err("is UTF-32; save it as UTF-8"))]
    #[case(b"\x1f\x8b\x08\0", Err("is packed with gzip; unpack it first"))]
    #[case(b"", Ok(""))]
    fn files(#[case] bytes: &[u8], #[case] expected: Result<&str, &str>) {
        let found = utf8(bytes.to_vec());
        assert_eq!(
            found.as_deref().map_err(String::as_str),
            expected.map(str::as_bytes)
        );
    }

    #[rstest]
    #[case(b"a: 1", Ok("a: 1"))]
    #[case(b"a: 1\nb: \xe4", Err((8, "is not UTF-8 text")))]
    #[case(b"a\0", Err((1, "holds a zero byte, so it is no text")))]
    fn texts(#[case] bytes: &[u8], #[case] expected: Result<&str, (usize, &str)>) {
        assert_eq!(text(bytes), expected);
    }
}
