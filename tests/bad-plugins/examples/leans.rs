//! Commits no sin: needs `good`, says so, and uses it by SQL and by a call.
use kodiak_plugin_api::arrow_array::Int64Array;
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct Leans;

impl Plugin for Leans {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let pair = Signature::<(BigInt, BigInt), BigInt>::stable();
        r.scalar_with("leans_sql", pair, |_, call, (a, b)| -> Result<Option<i64>> {
            let row = call.query_row("SELECT good_add(?, ?)", &[a.into(), b.into()])?;
            row.as_ref().and_then(|row| rows(row).next()).map_or(Ok(None), |row| row.integer(0))
        });
        r.scalar_with("leans_call", pair, |_, call, (a, b)| -> Result<Option<i64>> {
            let column = |value| Arc::new(Int64Array::from(vec![value])) as _;
            let sum = call.call_function("good_add", &[column(a), column(b)])?;
            Ok(sum.as_any().downcast_ref::<Int64Array>().map(|sum| sum.value(0)))
        });
    }
}

export_plugin!(Leans, manifest = "manifests/leans.toml");
