//! The SQL names of Arrow's types, as the line protocol and listings show them.

use arrow::datatypes::{DataType, Field};

/// The name that a user would write in CREATE TABLE.
pub(crate) fn sql_name(field: &Field) -> String {
    match (field.extension_type_name(), field.data_type()) {
        (Some("arrow.uuid"), _) => "UUID".to_owned(),
        (Some("arrow.json"), _) => "JSON".to_owned(),
        (_, data_type) => name_of(data_type),
    }
}

fn name_of(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Null => "NULL",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INTEGER UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float16 | DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BINARY",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ",
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("DECIMAL({precision},{scale})"),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return format!("{}[]", sql_name(item)),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| format!("{} {}", field.name(), sql_name(field))).collect();
            return format!("STRUCT({})", fields.join(", "));
        }
        DataType::Map(entries, _) => {
            return match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => {
                    format!("MAP({}, {})", sql_name(&pair[0]), sql_name(&pair[1]))
                }
                _ => "MAP".to_owned(),
            };
        }
        DataType::Dictionary(_, values) => return name_of(values),
        DataType::RunEndEncoded(_, values) => return sql_name(values),
        DataType::Union(..) => "UNION",
    };
    name.to_owned()
}
