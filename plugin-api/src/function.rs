//! Scalar functions: typed closures over rows, or functions over whole arrays.
//!
//! A typed function names its SQL types once and is then called row by row in a loop that the compiler specialises:
//! arguments are read where the host keeps them, fixed-width results are written where the host wants them. NULL in
//! gives NULL out without a call, unless the argument is [`Nullable`].

use crate::arrow::{BooleanReader, Column, Columns, FixedReader, Native, Output, ViewReader};
use crate::error::{Error, Result};
use crate::host::Call;
use crate::views::Views;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use std::marker::PhantomData;
use std::sync::Arc;

/// How often a function may be called for the same arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// The same result for ever: may be folded at planning.
    Immutable,
    /// The same result within a statement.
    Stable,
    /// Any result at any time.
    Volatile,
}

impl Volatility {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::Stable => "stable",
            Self::Volatile => "volatile",
        }
    }
}

/// The SQL types of a function: a tuple of arguments `A`, a result `R`.
#[derive(Clone, Copy, Debug)]
pub struct Signature<A, R> {
    pub(crate) volatility: Volatility,
    types: PhantomData<(A, R)>,
}

impl<A: Arguments, R: ResultType> Signature<A, R> {
    /// For functions of their arguments alone.
    pub fn immutable() -> Self {
        Self { volatility: Volatility::Immutable, types: PhantomData }
    }

    /// For functions that also read the database or the time of the statement.
    pub fn stable() -> Self {
        Self { volatility: Volatility::Stable, types: PhantomData }
    }

    /// For functions with effects, or with a result that changes.
    pub fn volatile() -> Self {
        Self { volatility: Volatility::Volatile, types: PhantomData }
    }
}

/// A SQL type that a typed function can take.
pub trait SqlType: 'static {
    /// The value of one row.
    type View<'a>: Copy;
    #[doc(hidden)]
    type Reader<'a>: Copy;
    /// Whether NULL is a value like any other.
    const NULLABLE: bool = false;
    /// Its Arrow type.
    fn data_type() -> DataType;
    #[doc(hidden)]
    fn reader(column: Column<'_>) -> Result<Self::Reader<'_>>;
    #[doc(hidden)]
    fn read<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::View<'a>;
}

/// A SQL type that a typed function can return.
pub trait ResultType: SqlType {
    /// The value of one row.
    type Value: 'static;
    #[doc(hidden)]
    const INTO: bool;
    #[doc(hidden)]
    fn fill(rows: usize, f: impl FnMut(usize) -> Result<Option<Self::Value>>, out: &mut Output<'_>) -> Result<()>;
    #[doc(hidden)]
    fn build(rows: usize, f: impl FnMut(usize) -> Result<Option<Self::Value>>) -> Result<ArrayRef>;
}

macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident($native:ty) = $data_type:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl SqlType for $name {
            type View<'a> = $native;
            type Reader<'a> = FixedReader<'a, $native>;
            fn data_type() -> DataType { $data_type }
            fn reader(column: Column<'_>) -> Result<Self::Reader<'_>> { column.fixed() }
            #[inline(always)]
            fn read<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::View<'a> { reader.get(row) }
        }

        impl ResultType for $name {
            type Value = $native;
            const INTO: bool = true;
            #[inline]
            fn fill(rows: usize, f: impl FnMut(usize) -> Result<Option<$native>>, out: &mut Output<'_>) -> Result<()> {
                fill_fixed(rows, f, out)
            }
            fn build(_: usize, _: impl FnMut(usize) -> Result<Option<$native>>) -> Result<ArrayRef> { Err(wrong_mode()) }
        }
    )*};
}

fixed! {
    /// TINYINT.
    TinyInt(i8) = DataType::Int8;
    /// SMALLINT.
    SmallInt(i16) = DataType::Int16;
    /// INTEGER.
    Integer(i32) = DataType::Int32;
    /// BIGINT.
    BigInt(i64) = DataType::Int64;
    /// TINYINT UNSIGNED.
    TinyUnsigned(u8) = DataType::UInt8;
    /// SMALLINT UNSIGNED.
    SmallUnsigned(u16) = DataType::UInt16;
    /// INTEGER UNSIGNED.
    Unsigned(u32) = DataType::UInt32;
    /// BIGINT UNSIGNED.
    BigUnsigned(u64) = DataType::UInt64;
    /// REAL.
    Real(f32) = DataType::Float32;
    /// DOUBLE.
    Double(f64) = DataType::Float64;
    /// DATE, in days since 1970-01-01.
    Date(i32) = DataType::Date32;
    /// TIMESTAMP, in microseconds since 1970-01-01.
    Timestamp(i64) = DataType::Timestamp(TimeUnit::Microsecond, None);
    /// TIMESTAMP WITH TIME ZONE, in microseconds since 1970-01-01 UTC.
    TimestampTz(i64) = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
}

#[inline]
fn fill_fixed<T: Native>(
    rows: usize,
    mut f: impl FnMut(usize) -> Result<Option<T>>,
    out: &mut Output<'_>,
) -> Result<()> {
    // Nulls are set apart from the loop, so that a function that never gives one stays a loop over slices.
    let mut nulls = Vec::new();
    for (row, slot) in out.fixed::<T>(rows)?.iter_mut().enumerate() {
        match f(row)? {
            Some(value) => *slot = value,
            None => {
                // The host's memory is not zeroed: every slot is written.
                *slot = T::default();
                nulls.push(row);
            }
        }
    }
    nulls.into_iter().for_each(|row| out.set_null(row));
    Ok(())
}

fn wrong_mode() -> Error {
    Error::new("KDK-0472", "the host called a function in another mode than it was bound to")
}

/// BOOLEAN.
#[derive(Clone, Copy, Debug)]
pub struct Boolean;

impl SqlType for Boolean {
    type View<'a> = bool;
    type Reader<'a> = BooleanReader<'a>;
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn reader(column: Column<'_>) -> Result<Self::Reader<'_>> {
        column.booleans()
    }
    fn read<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::View<'a> {
        reader.get(row)
    }
}

impl ResultType for Boolean {
    type Value = bool;
    const INTO: bool = true;
    fn fill(rows: usize, mut f: impl FnMut(usize) -> Result<Option<bool>>, out: &mut Output<'_>) -> Result<()> {
        let mut nulls = Vec::new();
        let bits = out.bits(rows)?;
        bits.fill(0);
        for row in 0..rows {
            match f(row)? {
                Some(true) => bits[row / 8] |= 1 << (row % 8),
                Some(false) => {}
                None => nulls.push(row),
            }
        }
        nulls.into_iter().for_each(|row| out.set_null(row));
        Ok(())
    }
    fn build(_: usize, _: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        Err(wrong_mode())
    }
}

macro_rules! viewed {
    ($($(#[$doc:meta])* $name:ident($view:ty, $value:ty, $read:ident, $finish:ident) = $data_type:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl SqlType for $name {
            type View<'a> = &'a $view;
            type Reader<'a> = ViewReader<'a>;
            fn data_type() -> DataType { $data_type }
            fn reader(column: Column<'_>) -> Result<Self::Reader<'_>> { column.views() }
            #[inline]
            fn read<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::View<'a> { reader.$read(row) }
        }

        impl ResultType for $name {
            type Value = $value;
            const INTO: bool = false;
            fn fill(_: usize, _: impl FnMut(usize) -> Result<Option<$value>>, _: &mut Output<'_>) -> Result<()> {
                Err(wrong_mode())
            }
            fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<$value>>) -> Result<ArrayRef> {
                let mut views = Views::with_capacity(rows);
                for row in 0..rows {
                    match f(row)? {
                        Some(value) => views.push(value.as_ref())?,
                        None => views.push_null(),
                    }
                }
                Ok(views.$finish())
            }
        }
    )*};
}

viewed! {
    /// TEXT.
    Text(str, String, text, into_text) = DataType::Utf8View;
    /// BINARY.
    Binary([u8], Vec<u8>, bytes, into_binary) = DataType::BinaryView;
}

/// An argument for which NULL is a value: its view is an `Option`, and the function is called for it.
#[derive(Clone, Copy, Debug)]
pub struct Nullable<T>(PhantomData<T>);

#[doc(hidden)]
pub struct NullableReader<'a, T: SqlType> {
    column: Column<'a>,
    inner: T::Reader<'a>,
}

impl<T: SqlType> Clone for NullableReader<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: SqlType> Copy for NullableReader<'_, T> {}

impl<T: SqlType> SqlType for Nullable<T> {
    type View<'a> = Option<T::View<'a>>;
    type Reader<'a> = NullableReader<'a, T>;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        T::data_type()
    }
    fn reader(column: Column<'_>) -> Result<Self::Reader<'_>> {
        Ok(NullableReader { column, inner: T::reader(column)? })
    }
    fn read<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::View<'a> {
        reader.column.is_valid(row).then(|| T::read(&reader.inner, row))
    }
}

/// A tuple of [`SqlType`]s.
pub trait Arguments: 'static {
    /// The values of one row, a tuple.
    type Views<'a>;
    #[doc(hidden)]
    type Readers<'a>;
    /// Their Arrow types.
    fn data_types() -> Vec<DataType>;
    #[doc(hidden)]
    fn readers<'a>(columns: Columns<'a>) -> Result<Self::Readers<'a>>;
    #[doc(hidden)]
    fn read<'a>(readers: &Self::Readers<'a>, row: usize) -> Self::Views<'a>;
    #[doc(hidden)]
    fn strict() -> Vec<bool>;
}

macro_rules! arguments {
    ($($name:ident $index:tt),*) => {
        impl<$($name: SqlType),*> Arguments for ($($name,)*) {
            type Views<'a> = ($($name::View<'a>,)*);
            type Readers<'a> = ($($name::Reader<'a>,)*);
            fn data_types() -> Vec<DataType> { vec![$($name::data_type()),*] }
            #[allow(unused_variables, clippy::unused_unit)]
            fn readers<'a>(columns: Columns<'a>) -> Result<Self::Readers<'a>> {
                Ok(($($name::reader(columns.get($index).ok_or_else(wrong_mode)?)?,)*))
            }
            #[inline(always)]
            #[allow(unused_variables, clippy::unused_unit)]
            fn read<'a>(readers: &Self::Readers<'a>, row: usize) -> Self::Views<'a> {
                ($($name::read(&readers.$index, row),)*)
            }
            fn strict() -> Vec<bool> { vec![$(!$name::NULLABLE),*] }
        }
    };
}
arguments!();
arguments!(A 0);
arguments!(A 0, B 1);
arguments!(A 0, B 1, C 2);
arguments!(A 0, B 1, C 2, D 3);
arguments!(A 0, B 1, C 2, D 3, E 4);
arguments!(A 0, B 1, C 2, D 3, E 4, F 5);

/// What a typed function may return for `R`: a value, an option, or a result of either.
pub trait IntoResult<R: ResultType> {
    #[doc(hidden)]
    fn into_result(self) -> Result<Option<R::Value>>;
}

macro_rules! into_result {
    ($($name:ident),*) => {$(
        impl IntoResult<$name> for <$name as ResultType>::Value {
            #[inline(always)]
            fn into_result(self) -> Result<Option<Self>> { Ok(Some(self)) }
        }
        impl IntoResult<$name> for Option<<$name as ResultType>::Value> {
            #[inline(always)]
            fn into_result(self) -> Result<Self> { Ok(self) }
        }
        impl IntoResult<$name> for Result<<$name as ResultType>::Value> {
            #[inline(always)]
            fn into_result(self) -> Result<Option<<$name as ResultType>::Value>> { self.map(Some) }
        }
        impl IntoResult<$name> for Result<Option<<$name as ResultType>::Value>> {
            #[inline(always)]
            fn into_result(self) -> Self { self }
        }
    )*};
}
into_result!(
    TinyInt,
    SmallInt,
    Integer,
    BigInt,
    TinyUnsigned,
    SmallUnsigned,
    Unsigned,
    BigUnsigned,
    Real,
    Double,
    Date,
    Timestamp,
    TimestampTz,
    Boolean,
    Text,
    Binary
);

/// One overload of a scalar function, types erased.
pub(crate) struct Overload<P> {
    /// None: any types, decided by `bind`.
    pub arguments: Option<Vec<DataType>>,
    pub volatility: Volatility,
    pub body: Body<P>,
}

type TypedBody<P> = Arc<dyn Typed<P>>;
type ArraysBody<P> = Arc<dyn Fn(&P, &Call, &[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync>;
type Resolve = Arc<dyn Fn(&[DataType]) -> Result<DataType> + Send + Sync>;

pub(crate) enum Body<P> {
    Typed { result: DataType, into: bool, body: TypedBody<P> },
    Arrays { result: Resolve, body: ArraysBody<P> },
}

impl<P> Clone for Body<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Typed { result, into, body } => {
                Self::Typed { result: result.clone(), into: *into, body: body.clone() }
            }
            Self::Arrays { result, body } => Self::Arrays { result: result.clone(), body: body.clone() },
        }
    }
}

pub(crate) trait Typed<P>: Send + Sync {
    fn fill(&self, plugin: &P, call: &Call, columns: Columns<'_>, rows: usize, out: &mut Output<'_>) -> Result<()>;
    fn build(&self, plugin: &P, call: &Call, columns: Columns<'_>, rows: usize) -> Result<ArrayRef>;
}

/// Types that a function is about and holds no value of.
type About<T> = PhantomData<fn() -> T>;

struct TypedFunction<A, R, T, F> {
    f: F,
    types: About<(A, R, T)>,
}

pub(crate) fn typed<P, A, R, T, F>(signature: Signature<A, R>, f: F) -> Overload<P>
where
    A: Arguments,
    R: ResultType,
    T: IntoResult<R> + 'static,
    F: for<'a> Fn(&'a P, &'a Call, A::Views<'a>) -> T + Send + Sync + 'static,
    P: 'static,
{
    Overload {
        arguments: Some(A::data_types()),
        volatility: signature.volatility,
        body: Body::Typed {
            result: R::data_type(),
            into: R::INTO,
            body: Arc::new(TypedFunction::<A, R, T, F> { f, types: PhantomData }),
        },
    }
}

impl<P, A, R, T, F> Typed<P> for TypedFunction<A, R, T, F>
where
    A: Arguments,
    R: ResultType,
    T: IntoResult<R>,
    F: for<'a> Fn(&'a P, &'a Call, A::Views<'a>) -> T + Send + Sync,
{
    fn fill(&self, plugin: &P, call: &Call, columns: Columns<'_>, rows: usize, out: &mut Output<'_>) -> Result<()> {
        let readers = A::readers(columns)?;
        let strict = strict_columns::<A>(columns);
        if strict.is_empty() {
            return R::fill(rows, |row| (self.f)(plugin, call, A::read(&readers, row)).into_result(), out);
        }
        let valid = |row| strict.iter().all(|column| column.is_valid(row));
        let call_row = |row| match valid(row) {
            true => (self.f)(plugin, call, A::read(&readers, row)).into_result(),
            false => Ok(None),
        };
        R::fill(rows, call_row, out)
    }

    fn build(&self, plugin: &P, call: &Call, columns: Columns<'_>, rows: usize) -> Result<ArrayRef> {
        let readers = A::readers(columns)?;
        let strict = strict_columns::<A>(columns);
        if strict.is_empty() {
            return R::build(rows, |row| (self.f)(plugin, call, A::read(&readers, row)).into_result());
        }
        let call_row = |row| match strict.iter().all(|column| column.is_valid(row)) {
            true => (self.f)(plugin, call, A::read(&readers, row)).into_result(),
            false => Ok(None),
        };
        R::build(rows, call_row)
    }
}

/// The columns in which a null makes the result null and that may hold one.
fn strict_columns<'a, A: Arguments>(columns: Columns<'a>) -> Vec<Column<'a>> {
    if !columns.iter().any(|column| column.may_be_null()) {
        return Vec::new();
    }
    let strict = A::strict();
    columns.iter().zip(strict).filter(|(column, strict)| *strict && column.may_be_null()).map(|(c, _)| c).collect()
}

/// Checks what a function over arrays returned before it crosses the boundary.
pub(crate) fn checked(array: ArrayRef, wanted: &DataType, rows: usize) -> Result<ArrayRef> {
    if array.len() != rows || array.data_type() != wanted {
        let (len, found) = (array.len(), array.data_type());
        return Err(Error::new("KDK-0472", format!("expected {rows} values of {wanted}, got {len} of {found}")));
    }
    Ok(array)
}
