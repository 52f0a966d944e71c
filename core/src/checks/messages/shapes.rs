//! What a type's source demands of the examples of its values.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A type as it is written in a file.
pub(super) enum Shape {
    Struct(Vec<(String, String)>),
    Enum(Vec<(String, Vec<(String, String)>)>),
}

/// The structs and enums of a file.
pub(super) fn shapes(file: &str) -> BTreeMap<String, Shape> {
    let tokens: Vec<TokenTree> = file.parse::<TokenStream>().unwrap().into_iter().collect();
    let mut found = BTreeMap::new();
    for three in tokens.windows(3) {
        let [
            TokenTree::Ident(what),
            TokenTree::Ident(name),
            TokenTree::Group(body),
        ] = three
        else {
            continue;
        };
        let shape = match (what.to_string().as_str(), body.delimiter()) {
            ("struct", Delimiter::Brace) => Shape::Struct(fields(body.stream())),
            ("enum", Delimiter::Brace) => Shape::Enum(variants(body.stream())),
            _ => continue,
        };
        found.insert(name.to_string(), shape);
    }
    found
}

/// What stands between the commas of a list, without attributes.
fn pieces(list: TokenStream) -> Vec<Vec<TokenTree>> {
    let (mut pieces, mut piece, mut angles) = (Vec::new(), Vec::new(), 0);
    let mut attribute = false;
    for token in list {
        match &token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => attribute = true,
            TokenTree::Group(_) if attribute => attribute = false,
            TokenTree::Punct(sign) if sign.as_char() == ',' && angles == 0 => {
                pieces.push(std::mem::take(&mut piece));
            }
            _ => {
                if let TokenTree::Punct(sign) = &token {
                    angles += i32::from(sign.as_char() == '<') - i32::from(sign.as_char() == '>');
                }
                piece.push(token);
            }
        }
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Names and types of fields.
fn fields(list: TokenStream) -> Vec<(String, String)> {
    let field = |piece: Vec<TokenTree>| {
        let colon = piece
            .iter()
            .position(|token| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ':'))?;
        let name = piece.get(colon.checked_sub(1)?)?.to_string();
        let of: TokenStream = piece.into_iter().skip(colon + 1).collect();
        Some((name, of.to_string().replace(' ', "")))
    };
    pieces(list).into_iter().filter_map(field).collect()
}

fn variants(list: TokenStream) -> Vec<(String, Vec<(String, String)>)> {
    let variant = |piece: Vec<TokenTree>| {
        let name = piece.first()?.to_string();
        let held = match piece.get(1) {
            Some(TokenTree::Group(held)) if held.delimiter() == Delimiter::Brace => fields(held.stream()),
            // A lone field has no name of its own in what `Debug` prints.
            Some(TokenTree::Group(held)) => vec![(name.clone(), held.stream().to_string().replace(' ', ""))],
            _ => Vec::new(),
        };
        Some((name, held))
    };
    pieces(list).into_iter().filter_map(variant).collect()
}

/// What `Debug` of the examples must print for a field: one text for each form that it can have.
pub(super) fn demands(
    shapes: &BTreeMap<String, Shape>,
    name: &str,
    of: &str,
    depth: u8,
    found: &mut BTreeSet<String>,
) {
    if depth == 0 {
        return;
    }
    let own = |fields: &[(String, String)], found: &mut BTreeSet<String>| {
        for (name, of) in fields {
            demands(shapes, name, of, depth - 1, found);
        }
    };
    if of == "bool" {
        found.extend([format!("{name}: true"), format!("{name}: false")]);
    } else if let Some(held) = of.strip_prefix("Option<").and_then(|of| of.strip_suffix('>')) {
        found.extend([format!("{name}: None"), format!("{name}: Some(")]);
        let mut inner = BTreeSet::new();
        demands(shapes, name, held, depth, &mut inner);
        let prefix = format!("{name}: ");
        found.extend(inner.into_iter().map(|one| match one.strip_prefix(&prefix) {
            Some(value) => format!("{name}: Some({value}"),
            None => one,
        }));
    } else {
        match shapes.get(of) {
            None => {}
            Some(Shape::Struct(fields)) => own(fields, found),
            Some(Shape::Enum(variants)) => {
                for (variant, fields) in variants {
                    found.insert(format!("{name}: {variant}"));
                    own(fields, found);
                }
            }
        }
    }
}

/// Whether a text has a piece that does not go on as a longer word.
pub(super) fn has(text: &str, piece: &str) -> bool {
    text.match_indices(piece).any(|(at, _)| {
        let rest = text.get(at + piece.len()..).unwrap_or_default();
        piece.ends_with('(') || !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}
