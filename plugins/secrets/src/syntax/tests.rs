//! Statements as users write them, and that no error repeats any of it.

use super::*;
use kodiak_plugin_api::statement::Token;
use kodiak_plugin_api::value::parameters;

/// Words, strings, numbers, parameters, single symbols, between blanks: what these tests need.
fn tokens(text: &str) -> Vec<Token> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace(',', " , ");
    let token = |word: &str| {
        let (kind, text) = match word.as_bytes()[0] {
            b'\'' => (TokenKind::Text, word.trim_matches('\'')),
            b'"' => (TokenKind::Quoted, word.trim_matches('"')),
            b'?' | b'$' => (TokenKind::Parameter, word),
            b'0'..=b'9' => (TokenKind::Number, word),
            byte if byte.is_ascii_alphabetic() => (TokenKind::Word, word),
            _ => (TokenKind::Symbol, word),
        };
        Token { kind, text: text.to_owned(), span: 0..0 }
    };
    spaced.split_whitespace().map(token).collect()
}

const CLAIMS: [&str; 9] = [
    "CREATE OR REPLACE SECRET",
    "CREATE SECRET",
    "ALTER SECRET",
    "DROP SECRET",
    "ROTATE SECRET",
    "ROTATE KEY",
    "ROTATE MASTER",
    "UNLOCK SECRETS",
    "LOCK SECRETS",
];

fn parse_with(text: &str, values: &[Value]) -> Result<Request> {
    let claim = CLAIMS.iter().find(|claim| text.starts_with(**claim)).unwrap();
    read(&Statement::new(claim, text, tokens(text), parameters(values)?))
}

fn parse(text: &str) -> Result<Request> {
    parse_with(text, &[])
}

fn shown(fields: &Fields) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.into(), String::from_utf8(value.to_vec()).unwrap())).collect()
}

#[test]
fn a_new_secret() {
    let text = "CREATE SECRET IF NOT EXISTS N (TYPE S3, SCOPE 's3://x', KEY_ID 'a', secret = 'b', port 5432)";
    let Request::Create { name, kind, scope, fields, replace, keep } = parse(text).unwrap() else { panic!() };
    assert_eq!((name.as_str(), kind.as_str(), scope.as_str(), replace, keep), ("n", "s3", "s3://x", false, true));
    let expected = [("KEY_ID", "a"), ("PORT", "5432"), ("SECRET", "b")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(shown(&fields), expected);
    let Request::Create { name, kind, replace, .. } = parse("CREATE OR REPLACE SECRET \"N\" (VALUE 'v')").unwrap()
    else {
        panic!()
    };
    assert_eq!((name.as_str(), kind.as_str(), replace), ("N", GENERIC, true));
}

#[test]
fn parameters_are_values() {
    let text = "CREATE SECRET n (A ?, B $1, C ?)";
    let Request::Create { fields, .. } = parse_with(text, &["x".into(), 7.into(), "z".into()]).unwrap() else {
        panic!()
    };
    assert_eq!(shown(&fields).iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["x", "x", "z"]);
    assert_eq!(parse("CREATE SECRET n (A ?)").unwrap_err().code(), "KDK-0109");
}

#[test]
fn changes_and_the_rest() {
    let Request::Alter { name, change } = parse("ALTER SECRET n SET (SCOPE 's', A 'b', C NULL)").unwrap() else {
        panic!()
    };
    assert_eq!((name.as_str(), change.scope.as_deref(), change.remove), ("n", Some("s"), vec!["C".to_owned()]));
    assert!(matches!(parse("ROTATE SECRET n"), Ok(Request::Rotate { change: None, .. })));
    assert!(matches!(parse("ROTATE SECRET n SET (VALUE 'x')"), Ok(Request::Rotate { change: Some(_), .. })));
    assert!(matches!(parse("DROP SECRET IF EXISTS n"), Ok(Request::Drop { if_exists: true, .. })));
    assert!(matches!(parse("ROTATE KEY"), Ok(Request::RotateKey)));
    assert!(matches!(parse("UNLOCK SECRETS"), Ok(Request::Unlock(None))));
    let Ok(Request::Unlock(Some(using))) = parse("UNLOCK SECRETS USING PASSPHRASE 'p'") else { panic!() };
    assert!(matches!(&using, Using::Passphrase(p) if p.as_slice() == b"p"));
    assert_eq!(format!("{using:?}"), "[redacted]");
}

#[test]
fn no_error_repeats_what_it_found() {
    for text in [
        "CREATE SECRET n (VALUE hush)",
        "CREATE SECRET n (VALUE 'hush' 'hush')",
        "CREATE SECRET n (VALUE 'hush'",
        "CREATE SECRET n VALUE 'hush'",
        "CREATE SECRET n (VALUE 'a', VALUE 'hush')",
        "CREATE SECRET n (VALUE 'hush') hush",
        "CREATE SECRET n (VALUE NULL)",
        "ALTER SECRET n (VALUE 'hush')",
        "ALTER SECRET n SET VALUE = 'hush'",
        "ROTATE SECRET n SET hush",
        "UNLOCK SECRETS USING hush",
        "UNLOCK SECRETS USING PASSPHRASE hush",
        "LOCK SECRETS hush",
    ] {
        let error = parse(text).unwrap_err();
        let all = format!("{} {} {:?}", error.text(), error.help_text(), error.details());
        assert!(error.code() == "KDK-0100" && !all.contains("hush"), "{text}: {all}");
    }
    let all = format!("{:?}", parse("CREATE SECRET n (VALUE 'hush')").unwrap());
    assert!(!all.contains("hush") && all.contains("[redacted]"));
}
