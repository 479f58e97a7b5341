//! The step that asks questions: four of TPC-H's, with the parameters that its specification uses for validation.

use super::Tour;
use crate::error::Result;

struct Query {
    question: &'static str,
    sql: &'static str,
}

const QUERIES: &[Query] = &[
    Query {
        question: "Q1, pricing summary: what was billed, shipped and returned?",
        sql: "
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS quantity, sum(l_extendedprice) AS base_price,
       sum(l_extendedprice * (1 - l_discount)) AS discounted, round(avg(l_discount), 4) AS discount, count(*) AS orders
FROM lineitem
WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90 days'
GROUP BY l_returnflag, l_linestatus
ORDER BY l_returnflag, l_linestatus",
    },
    Query {
        question: "Q3, shipping priority: which unshipped orders are worth most?",
        sql: "
SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate
FROM customer, orders, lineitem
WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
  AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
GROUP BY l_orderkey, o_orderdate
ORDER BY revenue DESC, o_orderdate
LIMIT 5",
    },
    Query {
        question: "Q5, local suppliers: where do customers buy from their own country?",
        sql: "
SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM customer, orders, lineitem, supplier, nation, region
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey
  AND c_nationkey = s_nationkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey
  AND r_name = 'ASIA' AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01'
GROUP BY n_name
ORDER BY revenue DESC",
    },
    Query {
        question: "Q6, forecast: what would have been earned without small discounts?",
        sql: "
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
  AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    },
];

/// Runs the queries and shows their results.
pub(super) fn run(tour: &mut Tour<'_>) -> Result<()> {
    for query in QUERIES {
        tour.say(&format!("  {}", query.question));
        tour.show(query.sql)?;
        if tour.context.ui.is_closed() {
            return Ok(());
        }
    }
    tour.next.push("kodiak sql --format csv -c 'SELECT * FROM nation'".to_owned());
    tour.next.push("kodiak db info".to_owned());
    Ok(())
}
