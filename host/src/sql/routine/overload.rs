//! Which of several routines of one name a call means: the one whose parameters the arguments fit best.

use arrow::datatypes::DataType;

use crate::catalog::{Routine, SqlType};
use crate::error::{Error, Result, codes};
use crate::sql::type_name;

/// The routine that takes arguments of these types.
pub(super) fn choose<'a>(name: &str, routines: &'a [Routine], given: &[DataType]) -> Result<&'a Routine> {
    let fitting = routines.iter().filter_map(|routine| Some((cost(routine, given)?, routine)));
    match fitting.min_by_key(|(cost, _)| *cost) {
        Some((_, routine)) => Ok(routine),
        None => Err(none(name, routines, given)),
    }
}

/// How far the arguments are from the parameters; none when they do not fit.
fn cost(routine: &Routine, given: &[DataType]) -> Option<u32> {
    if given.len() > routine.parameters.len() || given.len() < routine.arguments_min() {
        return None;
    }
    let left_out = u32::try_from(routine.parameters.len() - given.len()).ok()?;
    let costs = given.iter().zip(&routine.parameters).map(|(given, parameter)| distance(given, &parameter.kind));
    costs.sum::<Option<u32>>().map(|cost| cost * 16 + left_out)
}

/// Equal types cost nothing; what keeps the value costs little; what may not fit costs more and is checked when it runs.
fn distance(given: &DataType, wanted: &SqlType) -> Option<u32> {
    if given.is_null() {
        return Some(0);
    }
    let known = SqlType::of(given)?;
    if known == *wanted {
        return Some(0);
    }
    let (number, target) = (rank(&known), rank(wanted));
    match (number, target) {
        // Literals are BIGINT, whatever the parameter is: a narrower whole number is nearer than a fraction.
        (Some(from), Some(to)) if from <= WHOLE_MAX && to <= WHOLE_MAX => {
            return Some(if to >= from { 1 } else { 2 } + u32::from(to.abs_diff(from)));
        }
        (Some(from), Some(to)) if to >= from => return Some(8 + u32::from(to - from)),
        (Some(from), Some(to)) => return Some(20 + u32::from(from - to)),
        _ => {}
    }
    match (&known, wanted) {
        (SqlType::Text, SqlType::Text) => Some(0),
        // A literal without a type of its own is text.
        (SqlType::Text, wanted) if is_written_as_text(wanted) => Some(30),
        (SqlType::Date, SqlType::Timestamp | SqlType::TimestampTz) => Some(2),
        (SqlType::Timestamp, SqlType::TimestampTz) | (SqlType::TimestampTz, SqlType::Timestamp) => Some(2),
        (SqlType::List(from), SqlType::List(to)) => distance(&from.arrow(), to),
        (SqlType::Struct(from), SqlType::Struct(to)) if from.len() == to.len() => {
            from.iter().zip(to).map(|((_, from), (_, to))| distance(&from.arrow(), to)).sum()
        }
        _ => None,
    }
}

fn is_written_as_text(kind: &SqlType) -> bool {
    !matches!(kind, SqlType::Boolean | SqlType::List(_) | SqlType::Struct(_)) && rank(kind).is_none()
}

/// The last rank of whole numbers.
const WHOLE_MAX: u8 = 4;

/// Numbers in the order in which each holds the values of those before it, roughly.
fn rank(kind: &SqlType) -> Option<u8> {
    Some(match kind {
        SqlType::TinyInt | SqlType::UTinyInt => 1,
        SqlType::SmallInt | SqlType::USmallInt => 2,
        SqlType::Integer | SqlType::UInteger => 3,
        SqlType::BigInt | SqlType::UBigInt => 4,
        SqlType::Decimal(..) => 5,
        SqlType::Real => 6,
        SqlType::Double => 7,
        _ => return None,
    })
}

fn none(name: &str, routines: &[Routine], given: &[DataType]) -> Error {
    let shown = given.iter().map(type_name).collect::<Vec<_>>().join(", ");
    let error = Error::new(codes::NO_FUNCTION, format!("`{name}` does not take ({shown})"));
    routines.iter().fold(error, |error, routine| error.detail(format!("it takes: {}", routine.full_label())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Parameter, Returns, RoutineKind, Volatile};

    fn routine(kinds: &[SqlType], defaults: usize) -> Routine {
        let count = kinds.len();
        let parameters = kinds.iter().enumerate().map(|(i, kind)| Parameter {
            name: format!("p{i}"),
            kind: kind.clone(),
            default: (i + defaults >= count).then(|| "1".to_owned()),
        });
        Routine {
            schema: "main".into(),
            name: "f".into(),
            kind: RoutineKind::Function,
            parameters: parameters.collect(),
            returns: Returns::Value(SqlType::BigInt),
            language: "sql".into(),
            extension: None,
            volatility: Volatile::Volatile,
            strict: false,
            body: String::new(),
            inline: None,
            path: "main".into(),
            owner: None,
        }
    }

    #[test]
    fn the_nearest_types_win() {
        let all = [
            routine(&[SqlType::Integer], 0),
            routine(&[SqlType::Text], 0),
            routine(&[SqlType::Double, SqlType::Text], 1),
        ];
        let pick = |given: &[DataType]| choose("f", &all, given).map(|found| found.signature());
        assert_eq!(pick(&[DataType::Int64]).expect("fits"), "INTEGER");
        assert_eq!(pick(&[DataType::Utf8View]).expect("fits"), "TEXT");
        assert_eq!(pick(&[DataType::Float64]).expect("fits"), "DOUBLE,TEXT");
        assert_eq!(pick(&[DataType::Int32, DataType::Utf8]).expect("fits"), "DOUBLE,TEXT");
        let error = pick(&[DataType::Boolean]).expect_err("nothing takes it");
        assert_eq!(error.details().len(), 3);
        assert!(pick(&[]).is_err());
    }
}
