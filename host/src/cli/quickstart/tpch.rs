//! The eight tables of TPC-H: their keys, how many rows a scale factor means, and their rows, made by tpchgen.

use arrow::array::RecordBatchReader;
use arrow::datatypes::Schema;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::cli::format::sql_name;

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;
/// TPC-H gives every part four suppliers, and an order between one and seven lines.
const SUPPLIERS_PER_PART: i64 = 4;
const LINES_PER_ORDER: i64 = 4;

/// One table of TPC-H.
pub(super) struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key.
    pub key: &'static [&'static str],
    /// How many rows to expect: exact, but for `lineitem`, where it serves the progress bar.
    pub estimate: fn(f64) -> i64,
    /// Its rows.
    pub rows: fn(f64) -> Rows,
}

/// Generated rows.
pub(super) type Rows = Box<dyn RecordBatchReader + Send>;

/// In an order in which every foreign key already points to something.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "region",
        key: &["r_regionkey"],
        estimate: |_| 5,
        rows: |scale| Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "nation",
        key: &["n_nationkey"],
        estimate: |_| 25,
        rows: |scale| Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "supplier",
        key: &["s_suppkey"],
        estimate: |scale| SupplierGenerator::calculate_row_count(scale, 1, 1),
        rows: |scale| Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "customer",
        key: &["c_custkey"],
        estimate: |scale| CustomerGenerator::calculate_row_count(scale, 1, 1),
        rows: |scale| Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "part",
        key: &["p_partkey"],
        estimate: |scale| PartGenerator::calculate_row_count(scale, 1, 1),
        rows: |scale| Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "partsupp",
        key: &["ps_partkey", "ps_suppkey"],
        estimate: |scale| PartSuppGenerator::calculate_row_count(scale, 1, 1) * SUPPLIERS_PER_PART,
        rows: |scale| Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "orders",
        key: &["o_orderkey"],
        estimate: |scale| OrderGenerator::calculate_row_count(scale, 1, 1),
        rows: |scale| Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
    Table {
        name: "lineitem",
        key: &["l_orderkey", "l_linenumber"],
        estimate: |scale| OrderGenerator::calculate_row_count(scale, 1, 1) * LINES_PER_ORDER,
        rows: |scale| Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
    },
];

impl Table {
    /// How many rows there really are; for `lineitem` they must be generated to be counted.
    pub(super) fn count(&self, scale: f64) -> i64 {
        match self.name {
            "lineitem" => i64::try_from(LineItemGenerator::new(scale, 1, 1).iter().count()).unwrap_or(i64::MAX),
            _ => (self.estimate)(scale),
        }
    }

    /// The statement that makes the table.
    pub(super) fn definition(&self, schema: &Schema) -> String {
        let mut lines: Vec<String> =
            schema.fields().iter().map(|field| format!("  {} {} NOT NULL", field.name(), sql_name(field))).collect();
        lines.push(format!("  PRIMARY KEY ({})", self.key.join(", ")));
        format!("CREATE TABLE {} (\n{}\n)", self.name, lines.join(",\n"))
    }
}

/// Whether the primary key of `partsupp` would not hold. TPC-H, section 4.2.3, steps from a part's first supplier to the
/// others in strides that meet again where there are few suppliers.
pub(super) fn suppliers_repeat(scale: f64) -> bool {
    let suppliers = SupplierGenerator::calculate_row_count(scale, 1, 1).max(1);
    let parts = PartGenerator::calculate_row_count(scale, 1, 1);
    let strides = suppliers / SUPPLIERS_PER_PART..=suppliers / SUPPLIERS_PER_PART + (parts - 1) / suppliers;
    strides.into_iter().any(|stride| (1..SUPPLIERS_PER_PART).any(|steps| steps * stride % suppliers == 0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::{TABLES, suppliers_repeat};

    #[test]
    fn repeating_suppliers_are_foreseen() {
        let table = TABLES.iter().find(|table| table.name == "partsupp").unwrap();
        for scale in [0.001, 0.002, 0.01, 0.012, 0.02] {
            let mut seen = HashSet::new();
            let repeats = (table.rows)(scale).map(Result::unwrap).any(|batch| {
                let keys = [0, 1].map(|index| batch.column(index).as_primitive::<Int64Type>().values().clone());
                (0..batch.num_rows()).any(|row| !seen.insert((keys[0][row], keys[1][row])))
            });
            assert_eq!(suppliers_repeat(scale), repeats, "{scale}");
        }
        assert!(!suppliers_repeat(0.1) && !suppliers_repeat(1.0) && !suppliers_repeat(10.0));
    }

    #[test]
    fn definitions_have_types_and_keys_and_counts_are_exact() {
        let table = TABLES.iter().find(|table| table.name == "partsupp").unwrap();
        let rows = (table.rows)(0.001);
        insta::assert_snapshot!(table.definition(&rows.schema()), @r"
        CREATE TABLE partsupp (
          ps_partkey BIGINT NOT NULL,
          ps_suppkey BIGINT NOT NULL,
          ps_availqty INTEGER NOT NULL,
          ps_supplycost DECIMAL(15,2) NOT NULL,
          ps_comment TEXT NOT NULL,
          PRIMARY KEY (ps_partkey, ps_suppkey)
        )
        ");
        for table in TABLES {
            let rows: usize = (table.rows)(0.001).map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!(table.count(0.001), rows as i64, "{}", table.name);
        }
    }
}
