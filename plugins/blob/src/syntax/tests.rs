//! Statements as users write them, through a small tokenizer in the host's place.

use super::*;
use kodiak_plugin_api::statement::Token;
use kodiak_plugin_api::value::parameters;

/// Words, quoted names, strings, numbers, parameters, single symbols: what these tests need.
fn tokens(text: &str) -> Vec<Token> {
    let (bytes, mut tokens, mut start) = (text.as_bytes(), Vec::new(), 0);
    while start < bytes.len() {
        let rest = &text[start..];
        let run = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let (kind, length, value) = match bytes[start] {
            b' ' | b'\n' => {
                start += 1;
                continue;
            }
            quote @ (b'\'' | b'"') => {
                let length = rest[1..].find(quote as char).unwrap() + 2;
                let kind = if quote == b'"' { TokenKind::Quoted } else { TokenKind::Text };
                (kind, length, &rest[1..length - 1])
            }
            b'?' => (TokenKind::Parameter, 1, "?"),
            b'$' => {
                let length = 1 + rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
                (TokenKind::Parameter, length, &rest[..length])
            }
            b'0'..=b'9' => (TokenKind::Number, run(|c| c.is_ascii_digit()), &rest[..run(|c| c.is_ascii_digit())]),
            byte if byte.is_ascii_alphabetic() => {
                let length = run(|c| c.is_alphanumeric() || c == '_');
                (TokenKind::Word, length, &rest[..length])
            }
            _ => (TokenKind::Symbol, 1, &rest[..1]),
        };
        tokens.push(Token { kind, text: value.to_owned(), span: start..start + length });
        start += length;
    }
    tokens
}

fn read_with(text: &str, values: &[Value]) -> Result<Request> {
    let tokens = tokens(text);
    let words = if tokens[0].text.contains('_') { 1 } else { 2 };
    let claim = tokens[..words].iter().map(|token| token.text.to_uppercase()).collect::<Vec<_>>().join(" ");
    read(&Statement::new(&claim, text, tokens, parameters(values)?))
}

fn parse(text: &str) -> String {
    match read_with(text, &[]) {
        Ok(request) => format!("{request:?}"),
        Err(error) => error.text().to_owned(),
    }
}

#[test]
fn buckets() {
    for name in ["my-data.9", "'my-data.9'", "\"my-data.9\"", "MY-data.9"] {
        assert_eq!(
            parse(&format!("CREATE BUCKET IF NOT EXISTS {name} WITH (versioning = on)")),
            "Create { bucket: \"my-data.9\", versioning: On, or_keep: true }"
        );
    }
    assert_eq!(parse("create_bucket b"), "Create { bucket: \"b\", versioning: Off, or_keep: false }");
    assert_eq!(parse("ALTER BUCKET b SET (versioning = suspended)"), "Alter { bucket: \"b\", versioning: Suspended }");
    assert_eq!(parse("ALTER BUCKET b SET VERSIONING 'on'"), "Alter { bucket: \"b\", versioning: On }");
    assert_eq!(parse("ALTER BUCKET b SET (versioning = maybe)"), "expected on, off or suspended, found `maybe`");
    assert_eq!(parse("DROP BUCKET b CASCADE"), "Drop { bucket: \"b\", if_exists: false, cascade: true }");
    assert_eq!(parse("DROP BUCKET IF EXISTS b"), "Drop { bucket: \"b\", if_exists: true, cascade: false }");
    assert_eq!(parse("DROP BUCKET b b2"), "expected the end of the statement, found `b2`");
    assert_eq!(parse("DROP BUCKET"), "expected a bucket, found the end of the statement");
}

#[test]
fn a_put_with_everything() {
    let text = "PUT BLOB 'b' 'a/../Key' VALUE upper('x' || coalesce('if', 'y')) CONTENT_TYPE 'text/plain' \
                METADATA (Owner = 'me', \"Case\" = 'Yes') TAGS (stage = 1) IF MATCH 'abc'";
    let Request::Put { place, source, about, precondition } = read_with(text, &[]).unwrap() else { panic!() };
    assert_eq!(place, ("b".to_owned(), "a/../Key".to_owned()));
    assert!(matches!(source, Source::Expression { sql, .. } if sql == "upper('x' || coalesce('if', 'y'))"));
    assert_eq!(about.content_type.as_deref(), Some("text/plain"));
    assert_eq!(format!("{:?} {:?}", about.metadata, about.tags), r#"{"Case": "Yes", "owner": "me"} {"stage": "1"}"#);
    assert_eq!(precondition, Precondition::Match("abc".into()));
    assert!(parse("PUT_BLOB b k FROM FILE 'x.bin' IF NOT EXISTS").contains("File(\"x.bin\")"));
    assert_eq!(parse("PUT BLOB 'b' 'k' 'v'"), "expected FROM FILE or VALUE, found `'v'`");
    assert_eq!(parse("PUT BLOB 'b' 'k' VALUE"), "expected an expression, found the end of the statement");
    assert!(parse("PUT BLOB 'b' 'k' VALUE 'v' TAGS (a='1', a='2')").starts_with("expected a name that was not given"));
}

#[test]
fn parameters_go_where_they_stand() {
    let values: Vec<Value> = ["b", "k", "one", "two", "tag"].into_iter().map(Value::from).collect();
    let check = |text: &str| {
        let Request::Put { place, source, about, .. } = read_with(text, &values).unwrap() else { panic!() };
        assert_eq!(place, ("b".to_owned(), "k".to_owned()));
        let Source::Expression { sql, values } = source else { panic!() };
        assert_eq!(sql, "$1 || '?' || $2");
        let texts: Vec<_> = values.into_iter().map(|value| parameters(&[value]).unwrap()).collect();
        let texts: Vec<_> = texts.iter().map(|batch| rows(batch).next().unwrap().text(0).unwrap().unwrap()).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(about.tags["t"], "tag");
    };
    check("PUT BLOB ? ? VALUE ? || '?' || ? TAGS (t = ?)");
    check("PUT BLOB $1 $2 VALUE $3 || '?' || $4 TAGS (t = $5)");
    let error = read_with("PUT BLOB ? ? VALUE ?", &values[..2]).unwrap_err();
    assert_eq!(error.code(), "KDK-0109");
    let Request::Get { range, .. } = read_with("GET BLOB 'b' 'k' RANGE ? ?", &[3.into(), 4.into()]).unwrap() else {
        panic!()
    };
    assert_eq!(range, Some((3, 4)));
}

#[test]
fn reading_listing_copying_tagging() {
    assert_eq!(
        parse("GET BLOB 'b' 'k' VERSION 'null' RANGE 5, 10 TO FILE 'out'"),
        r#"Get { place: ("b", "k"), version: Some(Null), range: Some((5, 10)), to: Some("out") }"#
    );
    assert_eq!(parse("GET BLOB 'b' 'k' RANGE -1 10"), "expected a whole number, found `-`");
    assert_eq!(
        parse("DELETE_BLOB 'b' 'k' VERSION '01arz3ndektsv4rrffq69g5fav'"),
        r#"Delete { place: ("b", "k"), version: Some(Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV")) }"#
    );
    assert_eq!(
        parse("LIST BLOBS 'b' PREFIX 'p/' DELIMITER '/' VERSIONS LIMIT 5 AFTER 'p/x'"),
        "List(List { bucket: \"b\", prefix: \"p/\", delimiter: \"/\", versions: true, limit: Some(5), after: Some(\"p/x\") })"
    );
    assert_eq!(
        parse("COPY BLOB 'b' 'k' TO 'b2' 'k2' IF NOT EXISTS"),
        r#"Copy { from: ("b", "k"), version: None, to: ("b2", "k2"), precondition: NotExists }"#
    );
    assert_eq!(parse("TAG BLOB 'b' 'k' (a = 'x')"), r#"Tag { place: ("b", "k"), version: None, tags: {"a": "x"} }"#);
    assert_eq!(parse("TAG BLOB 'b' 'k' SET TAGS ()"), r#"Tag { place: ("b", "k"), version: None, tags: {} }"#);
}
