//! From bytes to text. UTF-16 is read where its mark stands: a redirect in an older `PowerShell` writes it.

/// The text of a file, without byte order mark.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => narrow(rest.to_vec()),
        _ => narrow(bytes),
    }
}

fn narrow(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count();
        format!("line {line}: is not UTF-8 text")
    })?;
    match text.find('\0') {
        Some(at) => Err(format!(
            "line {}: holds a zero byte, so it is no text",
            line_of(&text, at)
        )),
        None => Ok(text),
    }
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => unit([*a, *b]),
            // Half a unit: not valid, whatever it was.
            _ => 0xdfff,
        })
        .collect();
    String::from_utf16(&units).map_err(|_| "is marked as UTF-16, but is not; save it as UTF-8".into())
}

/// The line of a byte, counted from one.
pub(super) fn line_of(text: &str, at: usize) -> u64 {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"\xef\xbb\xbfa: 1", Ok("a: 1"))]
    #[case(b"\xff\xfea\0:\0", Ok("a:"))]
    #[case(b"\xfe\xff\0a", Ok("a"))]
    #[case(b"a: 1\nb: \xe4", Err("line 2: is not UTF-8 text"))]
    #[case(b"a\0", Err("line 1: holds a zero byte, so it is no text"))]
    #[case(b"\xff\xfea", Err("is marked as UTF-16, but is not; save it as UTF-8"))]
    #[case(b"", Ok(""))]
    fn texts(#[case] bytes: &[u8], #[case] expected: Result<&str, &str>) {
        let found = text(bytes.to_vec());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }
}
