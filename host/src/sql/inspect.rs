//! Looks at a statement's text for others: its tokens, as an extension gets them, and what it uses, as permissions are
//! checked. It runs and plans nothing.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, ObjectName, Query, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::Kodiak;
use super::dispatch;
use super::history;
use super::names::{function_name, split_name};
use super::parse;
use crate::error::{Error, Result, codes};

/// A token with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextToken {
    /// What it is.
    pub kind: TextTokenKind,
    /// A word as written, a string or quoted name without quotes and escapes, a symbol.
    pub text: String,
    /// Byte range in the text.
    pub span: Range<usize>,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextTokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string.
    Text,
    /// A number.
    Number,
    /// Punctuation or an operator.
    Symbol,
    /// `?` or `$1`.
    Parameter,
    /// `X'00ff'`, its digits.
    Binary,
}

/// The tokens of a statement without white space and comments.
///
/// # Errors
/// `SYNTAX` when the text cannot be read as tokens, such as a string that does not end.
pub fn tokens(text: &str) -> Result<Vec<TextToken>> {
    // Escapes are resolved, so that a string's token is its value.
    let found = Tokenizer::new(&Kodiak, text).tokenize_with_location().map_err(|error| {
        let place = parse::relative(error.location.line, error.location.column);
        Error::new(codes::SYNTAX, error.message.to_lowercase()).at(place)
    })?;
    let places = Places::new(text);
    Ok(found.into_iter().filter_map(|token| text_token(token, &places)).collect())
}

fn text_token(TokenWithSpan { token, span }: TokenWithSpan, places: &Places<'_>) -> Option<TextToken> {
    use TextTokenKind as Kind;
    let (kind, text) = match token {
        Token::Whitespace(_) | Token::EOF => return None,
        Token::Word(word) if word.quote_style.is_some() => (Kind::Quoted, word.value),
        Token::Word(word) => (Kind::Word, word.value),
        Token::Number(number, _) => (Kind::Number, number),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::NationalStringLiteral(text) => {
            (Kind::Text, text)
        }
        Token::DollarQuotedString(text) => (Kind::Text, text.value),
        Token::HexStringLiteral(digits) => (Kind::Binary, digits),
        Token::Placeholder(name) => (Kind::Parameter, name),
        other => (Kind::Symbol, other.to_string()),
    };
    Some(TextToken { kind, text, span: places.byte(span.start)..places.byte(span.end) })
}

/// Byte offsets of lines, to turn the tokenizer's lines and columns into bytes.
struct Places<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    fn byte(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(self.text.len());
        let column = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
        let offset = self.text[start..].char_indices().nth(column).map(|(at, _)| at);
        offset.map_or(self.text.len(), |offset| start + offset)
    }
}

/// What a statement uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Names of functions, in lower case.
    pub functions: BTreeSet<String>,
    /// Tables and views, with the schema if it is written; names of common table expressions among them.
    pub relations: BTreeSet<(Option<String>, String)>,
    /// Whether it may change anything.
    pub writes: bool,
}

/// Stands for a table that is not known before the statement runs, and for all of them; no schema is called so.
const EVERYTHING: &str = "\u{1}everything";

/// What a statement uses.
///
/// # Errors
/// `SYNTAX` when it cannot be parsed.
pub fn uses(text: &str) -> Result<Uses> {
    match dispatch::own_statement(text) {
        Some(Ok(dispatch::Own::UseBranch(_))) => return Ok(Uses::default()),
        // Who may touch some schemas only may not touch all of them at once.
        Some(Ok(dispatch::Own::Alter(_))) => {
            let relations = BTreeSet::from([(Some(EVERYTHING.to_owned()), EVERYTHING.to_owned())]);
            return Ok(Uses { writes: true, relations, ..Uses::default() });
        }
        _ => {}
    }
    let statement = parse::statement(text)?;
    let mut collector = Collector { uses: Uses::default(), common: BTreeSet::new(), called: None };
    let _: ControlFlow<()> = statement.visit(&mut collector);
    let Collector { mut uses, common, .. } = collector;
    uses.relations.retain(|(schema, name)| schema.is_some() || !common.contains(name));
    uses.writes |= !is_read(&statement);
    Ok(uses)
}

fn is_read(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => !has_write(query),
        Statement::Explain { statement, .. } => is_read(statement),
        Statement::ShowTables { .. } | Statement::ShowSchemas { .. } | Statement::ShowColumns { .. } => true,
        Statement::ShowVariable { .. } | Statement::ExplainTable { .. } => true,
        _ => false,
    }
}

fn has_write(query: &Query) -> bool {
    matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

struct Collector {
    uses: Uses,
    common: BTreeSet<String>,
    /// The table function whose name comes next, where a relation's would: it is in no schema.
    called: Option<ObjectName>,
}

impl Visitor for Collector {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.extend(tables.map(|table| super::names::fold_ident(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if self.called.take().is_some_and(|called| called == *relation) {
            return ControlFlow::Continue(());
        }
        if let Ok(name) = split_name(relation) {
            self.uses.relations.insert(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.uses.functions.insert(function_name(name));
                self.called = Some(name.clone());
                if function_name(name) == history::CHANGES {
                    self.uses.relations.insert(table_in(factor));
                }
            }
            _ => self.called = None,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.uses.functions.insert(function_name(&function.name));
        }
        ControlFlow::Continue(())
    }
}

/// The table that a call of `changes` names.
fn table_in(call: &TableFactor) -> (Option<String>, String) {
    let args = match call {
        TableFactor::Table { args: Some(args), .. } => args.args.first(),
        TableFactor::Function { args, .. } => args.first(),
        _ => None,
    };
    let name = match args {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) => value.value.clone().into_string(),
        _ => None,
    };
    // A parameter may name any table.
    let Some(name) = name else { return (Some(EVERYTHING.to_owned()), EVERYTHING.to_owned()) };
    match name.split_once('.') {
        Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
        None => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use super::{TextTokenKind, tokens, uses};

    #[test]
    fn tokens_have_values_and_places() {
        let text = "PUT BLOB 'it''s' \"K\"\n  /* x */ VALUE X'00ff' + ?";
        let found = tokens(text).expect("tokens");
        let kinds: Vec<_> = found.iter().map(|token| (token.kind, token.text.as_str())).collect();
        assert_eq!(
            kinds,
            [
                (TextTokenKind::Word, "PUT"),
                (TextTokenKind::Word, "BLOB"),
                (TextTokenKind::Text, "it's"),
                (TextTokenKind::Quoted, "K"),
                (TextTokenKind::Word, "VALUE"),
                (TextTokenKind::Binary, "00ff"),
                (TextTokenKind::Symbol, "+"),
                (TextTokenKind::Parameter, "?"),
            ]
        );
        let pieces: Vec<_> = found.iter().map(|token| &text[token.span.clone()]).collect();
        assert_eq!(pieces, ["PUT", "BLOB", "'it''s'", "\"K\"", "VALUE", "X'00ff'", "+", "?"]);
    }

    #[test]
    fn a_statement_tells_what_it_uses() {
        let read = uses("WITH c AS (SELECT UPPER(\"g\"(x)) FROM s.t) SELECT * FROM c, f(1), u").expect("uses");
        assert_eq!(read.functions.iter().map(String::as_str).collect::<Vec<_>>(), ["f", "g", "upper"]);
        assert!(!read.writes);
        assert!(read.relations.contains(&(Some("s".into()), "t".into())));
        assert!(read.relations.contains(&(None, "u".into())) && !read.relations.contains(&(None, "c".into())));
        assert!(!read.relations.contains(&(None, "f".into())), "a table function is in no schema");
        let changed = uses("SELECT * FROM changes('s.t', 1, 2)").expect("uses");
        assert!(changed.relations.contains(&(Some("s".into()), "t".into())));
        let unknown = uses("SELECT * FROM changes($1, 1, 2)").expect("uses");
        assert!(unknown.relations.iter().any(|(schema, _)| schema.is_some()), "it may be any table");
        assert!(uses("ALTER DATABASE DROP BRANCH b").expect("uses").writes);
        assert!(!uses("USE BRANCH b").expect("uses").writes);
        assert!(uses("DELETE FROM t").expect("uses").writes);
        assert!(uses("CREATE TABLE t (a INT)").expect("uses").writes);
        assert!(!uses("EXPLAIN SELECT 1").expect("uses").writes);
    }
}
