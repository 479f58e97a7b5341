//! The dialect that Kodiak reads: PostgreSQL's, with what DuckDB's users expect on top. It only answers the parser's
//! questions about syntax; what a construct means, or whether we support it, is decided by the statements' own files.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{ColumnOption, Expr, GeneratedAs, SequenceOptions};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// PostgreSQL's grammar, extended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kodiak;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Answers that are always yes.
macro_rules! yes {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { true })* };
}

impl Dialect for Kodiak {
    /// The parser asks for the concrete type where it has no method; there we want to be taken for PostgreSQL.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    /// `?` stays out of operators, because it stands for a parameter.
    fn is_custom_operator_part(&self, ch: char) -> bool {
        ch != '?' && POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        POSTGRES.parse_prefix(parser)
    }

    /// An identity takes its options in any order, as PostgreSQL has it; the parser knows one.
    fn parse_column_option(
        &self,
        parser: &mut Parser,
    ) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        use Keyword::{ALWAYS, AS, BY, DEFAULT, GENERATED, IDENTITY};
        let generated_as = if parser.parse_keywords(&[GENERATED, ALWAYS, AS, IDENTITY]) {
            GeneratedAs::Always
        } else if parser.parse_keywords(&[GENERATED, BY, DEFAULT, AS, IDENTITY]) {
            GeneratedAs::ByDefault
        } else {
            return Ok(None);
        };
        Ok(Some(Ok(Some(ColumnOption::Generated {
            generated_as,
            sequence_options: Some(sequence_options(parser)?),
            generation_expr: None,
            generation_expr_mode: None,
            generated_keyword: true,
        }))))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    yes! {
        allow_extract_custom allow_extract_single_quotes supports_unicode_string_literal supports_filter_during_aggregation
        supports_group_by_expr supports_create_index_with_clause supports_explain_with_utility_options
        supports_bitwise_shift_operators
        supports_nested_comments supports_string_escape_constant supports_numeric_literal_underscores
        supports_array_typedef_with_brackets supports_alter_column_type_using supports_notnull_operator
        supports_interval_options supports_insert_table_alias supports_create_table_like_parenthesized
        supports_comma_separated_trim supports_comment_on
        supports_named_fn_args_with_rarrow_operator supports_named_fn_args_with_assignment_operator
        supports_named_fn_args_with_eq_operator supports_dictionary_syntax support_map_literal_syntax
        supports_from_first_select supports_order_by_all supports_select_wildcard_exclude supports_select_wildcard_replace
        supports_window_function_null_treatment_arg supports_window_clause_named_window_reference
        supports_within_after_array_aggregation supports_in_empty_list
        supports_boolean_literals supports_table_versioning supports_start_transaction_modifier
    }
}

fn sequence_options(parser: &mut Parser) -> Result<Vec<SequenceOptions>, ParserError> {
    use Keyword::{BY, CACHE, CYCLE, INCREMENT, MAXVALUE, MINVALUE, NO, START, WITH};
    let mut options = Vec::new();
    if !parser.consume_token(&Token::LParen) {
        return Ok(options);
    }
    while !parser.consume_token(&Token::RParen) {
        options.push(if parser.parse_keyword(START) {
            let with = parser.parse_keyword(WITH);
            SequenceOptions::StartWith(parser.parse_number()?, with)
        } else if parser.parse_keyword(INCREMENT) {
            let by = parser.parse_keyword(BY);
            SequenceOptions::IncrementBy(parser.parse_number()?, by)
        } else if parser.parse_keywords(&[NO, MINVALUE]) {
            SequenceOptions::MinValue(None)
        } else if parser.parse_keywords(&[NO, MAXVALUE]) {
            SequenceOptions::MaxValue(None)
        } else if parser.parse_keywords(&[NO, CYCLE]) {
            SequenceOptions::Cycle(true)
        } else if parser.parse_keyword(MINVALUE) {
            SequenceOptions::MinValue(Some(parser.parse_number()?))
        } else if parser.parse_keyword(MAXVALUE) {
            SequenceOptions::MaxValue(Some(parser.parse_number()?))
        } else if parser.parse_keyword(CACHE) {
            SequenceOptions::Cache(parser.parse_number()?)
        } else if parser.parse_keyword(CYCLE) {
            SequenceOptions::Cycle(false)
        } else {
            return parser.expected("an option of an identity column", parser.peek_token());
        });
    }
    Ok(options)
}
