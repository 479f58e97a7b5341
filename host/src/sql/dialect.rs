//! The dialect that Kodiak reads: PostgreSQL's, with what DuckDB's users expect on top. It only answers the parser's
//! questions about syntax; what a construct means, or whether we support it, is decided by the statements' own files.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

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
