//! The system tables: `kodiak.*` and `information_schema.*`, made from the catalog as the statement sees it. Tables
//! that belong to extensions are theirs; they come through [`super::claim::Extensions::relation`].

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;

use super::bind::Binder;
use super::fault::{fold, fold_arrow};
use super::functions::built_in;
use super::names::{quoted, shown};
use super::scope::Scope;
use super::{routine, settings};
use crate::catalog::{
    Action, Event, INFORMATION, Reference, Relation, Returns, Routine, SYSTEM, SqlType, Table, Trigger, ZONE,
};
use crate::error::Result;
use crate::storage::TableId;

/// A value of a system table.
enum Cell {
    Text(String),
    Maybe(Option<String>),
    Flag(bool),
    Count(i64),
    Time(i64),
}

type Make = fn(&Arc<Scope>) -> Result<Vec<Vec<Cell>>>;

/// A system table: schema, name, columns, and what makes its rows.
struct SystemTable {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    make: Make,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Count,
    Time,
}

use Kind::{Count, Flag, Text, Time};

const TABLES: &[SystemTable] = &[
    SystemTable { schema: SYSTEM, name: "schemas", columns: &[("name", Text), ("extension", Text)], make: schemas },
    SystemTable {
        schema: SYSTEM,
        name: "tables",
        columns: &[("schema", Text), ("name", Text), ("rows", Count), ("columns", Count), ("extension", Text)],
        make: tables,
    },
    SystemTable {
        schema: SYSTEM,
        name: "views",
        columns: &[("schema", Text), ("name", Text), ("sql", Text), ("extension", Text)],
        make: views,
    },
    SystemTable {
        schema: SYSTEM,
        name: "columns",
        columns: &[
            ("schema", Text),
            ("table", Text),
            ("position", Count),
            ("name", Text),
            ("type", Text),
            ("nullable", Flag),
            ("default", Text),
            ("key", Text),
        ],
        make: columns,
    },
    SystemTable {
        schema: SYSTEM,
        name: "constraints",
        columns: &[("schema", Text), ("table", Text), ("name", Text), ("type", Text), ("definition", Text)],
        make: constraints,
    },
    SystemTable {
        schema: SYSTEM,
        name: "databases",
        columns: &[("name", Text), ("path", Text), ("attached", Flag), ("read_only", Flag)],
        make: databases,
    },
    SystemTable {
        schema: SYSTEM,
        name: "indexes",
        columns: &[
            ("schema", Text),
            ("table", Text),
            ("name", Text),
            ("columns", Text),
            ("unique", Flag),
            ("key", Flag),
        ],
        make: indexes,
    },
    SystemTable {
        schema: SYSTEM,
        name: "settings",
        columns: &[("name", Text), ("value", Text), ("description", Text)],
        make: settings_rows,
    },
    SystemTable {
        schema: SYSTEM,
        name: "functions",
        columns: &[("name", Text), ("type", Text), ("extension", Text)],
        make: functions,
    },
    SystemTable {
        schema: SYSTEM,
        name: "routines",
        columns: &[
            ("schema", Text),
            ("name", Text),
            ("type", Text),
            ("parameters", Text),
            ("returns", Text),
            ("language", Text),
            ("volatility", Text),
            ("inlined", Flag),
            ("state", Text),
            ("extension", Text),
            ("body", Text),
        ],
        make: routines,
    },
    SystemTable {
        schema: SYSTEM,
        name: "triggers",
        columns: &[
            ("schema", Text),
            ("table", Text),
            ("name", Text),
            ("timing", Text),
            ("events", Text),
            ("level", Text),
            ("condition", Text),
            ("function", Text),
            ("enabled", Flag),
            ("state", Text),
            ("extension", Text),
        ],
        make: triggers,
    },
    SystemTable {
        schema: INFORMATION,
        name: "routines",
        columns: &[
            ("specific_name", Text),
            ("routine_catalog", Text),
            ("routine_schema", Text),
            ("routine_name", Text),
            ("routine_type", Text),
            ("data_type", Text),
            ("external_language", Text),
            ("routine_definition", Text),
        ],
        make: information_routines,
    },
    SystemTable {
        schema: INFORMATION,
        name: "triggers",
        columns: &[
            ("trigger_catalog", Text),
            ("trigger_schema", Text),
            ("trigger_name", Text),
            ("event_manipulation", Text),
            ("event_object_schema", Text),
            ("event_object_table", Text),
            ("action_condition", Text),
            ("action_statement", Text),
            ("action_orientation", Text),
            ("action_timing", Text),
        ],
        make: information_triggers,
    },
    SystemTable {
        schema: SYSTEM,
        name: "branches",
        columns: &[
            ("name", Text),
            ("version", Count),
            ("committed_at", Time),
            ("parent", Text),
            ("from_version", Count),
            ("created_at", Time),
            ("current", Flag),
        ],
        make: branches,
    },
    SystemTable {
        schema: SYSTEM,
        name: "pins",
        columns: &[("name", Text), ("version", Count), ("committed_at", Time)],
        make: pins,
    },
    SystemTable {
        schema: SYSTEM,
        name: "versions",
        columns: &[("version", Count), ("branch", Text), ("committed_at", Time), ("pins", Text)],
        make: versions,
    },
    SystemTable {
        schema: INFORMATION,
        name: "schemata",
        columns: &[("catalog_name", Text), ("schema_name", Text)],
        make: schemata,
    },
    SystemTable {
        schema: INFORMATION,
        name: "tables",
        columns: &[("table_catalog", Text), ("table_schema", Text), ("table_name", Text), ("table_type", Text)],
        make: information_tables,
    },
    SystemTable {
        schema: INFORMATION,
        name: "columns",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("column_name", Text),
            ("ordinal_position", Count),
            ("column_default", Text),
            ("is_nullable", Text),
            ("data_type", Text),
        ],
        make: information_columns,
    },
    SystemTable {
        schema: INFORMATION,
        name: "table_constraints",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("constraint_name", Text),
            ("constraint_type", Text),
        ],
        make: information_constraints,
    },
    SystemTable {
        schema: INFORMATION,
        name: "key_column_usage",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("constraint_name", Text),
            ("column_name", Text),
            ("ordinal_position", Count),
        ],
        make: key_columns,
    },
    SystemTable {
        schema: INFORMATION,
        name: "referential_constraints",
        columns: &[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("unique_constraint_name", Text),
            ("match_option", Text),
            ("update_rule", Text),
            ("delete_rule", Text),
        ],
        make: referential_constraints,
    },
    SystemTable {
        schema: INFORMATION,
        name: "views",
        columns: &[("table_catalog", Text), ("table_schema", Text), ("table_name", Text), ("view_definition", Text)],
        make: information_views,
    },
];

/// The catalog that the SQL standard wants to be named.
const DATABASE: &str = "kodiak";

/// Schema and name of every system table.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().map(|table| (table.schema, table.name))
}

/// The system table of this name.
pub(super) fn table(scope: &Arc<Scope>, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(table) = TABLES.iter().find(|table| table.schema == schema && table.name == name) else { return Ok(None) };
    let rows = (table.make)(scope)?;
    let fields = table.columns.iter().map(|(name, kind)| {
        let kind = match kind {
            Text => DataType::Utf8View,
            Flag => DataType::Boolean,
            Count => DataType::Int64,
            Time => SqlType::TimestampTz.arrow(),
        };
        Field::new(*name, kind, true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = table.columns.iter().enumerate().map(|(i, (_, kind))| array(&rows, i, *kind)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch =
        RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).map_err(|error| fold_arrow(&error))?;
    let provider = MemTable::try_new(schema, vec![vec![batch]]).map_err(|error| fold(&error))?;
    Ok(Some(Arc::new(provider)))
}

fn array(rows: &[Vec<Cell>], column: usize, kind: Kind) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(column));
    match kind {
        Text => Arc::new(
            cells
                .map(|cell| match cell {
                    Some(Cell::Text(text)) => Some(text.as_str()),
                    Some(Cell::Maybe(text)) => text.as_deref(),
                    _ => None,
                })
                .collect::<StringViewArray>(),
        ),
        Flag => Arc::new(
            cells
                .map(|cell| if let Some(Cell::Flag(flag)) = cell { Some(*flag) } else { None })
                .collect::<BooleanArray>(),
        ),
        Count => Arc::new(
            cells
                .map(|cell| if let Some(Cell::Count(count)) = cell { Some(*count) } else { None })
                .collect::<Int64Array>(),
        ),
        Time => Arc::new(
            cells
                .map(|cell| if let Some(Cell::Time(time)) = cell { Some(*time) } else { None })
                .collect::<TimestampMicrosecondArray>()
                .with_timezone(ZONE),
        ),
    }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn count(number: u64) -> Cell {
    Cell::Count(i64::try_from(number).unwrap_or(i64::MAX))
}

fn branches(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let on = scope.unit.with(|transaction| Ok(transaction.branch().to_owned()))?;
    let all = scope.unit.with(crate::storage::Transaction::branches)?;
    let row = |branch: crate::storage::BranchInfo| {
        let current = Cell::Flag(branch.name == on);
        vec![
            text(branch.name),
            count(branch.version),
            Cell::Time(branch.time),
            Cell::Maybe(branch.parent),
            count(branch.from),
            Cell::Time(branch.created),
            current,
        ]
    };
    Ok(all.into_iter().map(row).collect())
}

fn pins(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let all = scope.unit.with(crate::storage::Transaction::pins)?;
    Ok(all.into_iter().map(|pin| vec![text(pin.name), count(pin.version), Cell::Time(pin.time)]).collect())
}

fn versions(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let all = scope.session.engine.store.versions()?;
    let row = |info: crate::storage::VersionInfo| {
        let pins = Some(info.pins.join(", ")).filter(|pins| !pins.is_empty());
        vec![count(info.version), Cell::Maybe(info.branch), Cell::Time(info.time), Cell::Maybe(pins)]
    };
    Ok(all.into_iter().map(row).collect())
}

fn schemas(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let schemas = scope.catalog.schemas()?;
    Ok(schemas.into_iter().map(|schema| vec![text(schema.name), Cell::Maybe(schema.owner)]).collect())
}

fn tables(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        if let Relation::Table(table) = relation.as_ref() {
            let count = scope.catalog.snapshot().table(TableId(table.id))?.rows();
            rows.push(vec![
                text(&table.schema),
                text(&table.name),
                Cell::Count(i64::try_from(count).unwrap_or(i64::MAX)),
                Cell::Count(i64::try_from(table.columns.len()).unwrap_or(i64::MAX)),
                Cell::Maybe(table.owner.clone()),
            ]);
        }
    }
    Ok(rows)
}

fn views(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let relations = scope.catalog.all_relations()?;
    let views = relations.iter().filter_map(|relation| match relation.as_ref() {
        Relation::View(view) => {
            Some(vec![text(&view.schema), text(&view.name), text(&view.text), Cell::Maybe(view.owner.clone())])
        }
        Relation::Table(_) => None,
    });
    Ok(views.collect())
}

/// A column of a table or view.
struct ColumnRow {
    schema: String,
    table: String,
    position: i64,
    name: String,
    kind: String,
    nullable: bool,
    default: Option<String>,
    key: Option<String>,
}

fn column_rows(scope: &Arc<Scope>) -> Result<Vec<ColumnRow>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        match relation.as_ref() {
            Relation::Table(table) => {
                for (position, column) in (1..).zip(&table.columns) {
                    let mut keys = table.keys.iter().filter(|key| key.columns.contains(&column.id));
                    let key = keys.next().map(|key| if key.primary { "PRIMARY KEY" } else { "UNIQUE" });
                    rows.push(ColumnRow {
                        schema: table.schema.clone(),
                        table: table.name.clone(),
                        position,
                        name: column.name.clone(),
                        kind: column.kind.to_string(),
                        nullable: !column.not_null,
                        default: column.default.clone(),
                        key: key.map(str::to_owned),
                    });
                }
            }
            Relation::View(view) => {
                // A view whose tables have changed under it has no columns that could be told.
                let name = datafusion::common::TableReference::partial(view.schema.as_str(), view.name.as_str());
                let source =
                    datafusion::logical_expr::planner::ContextProvider::get_table_source(&Binder::new(scope), name);
                let Ok(source) = source else { continue };
                for (position, field) in (1..).zip(source.schema().fields()) {
                    rows.push(ColumnRow {
                        schema: view.schema.clone(),
                        table: view.name.clone(),
                        position,
                        name: shown(field.name()).to_owned(),
                        kind: SqlType::of(field.data_type())
                            .map_or_else(|| field.data_type().to_string(), |kind| kind.to_string()),
                        nullable: true,
                        default: None,
                        key: None,
                    });
                }
            }
        }
    }
    for table in TABLES {
        for (position, (name, kind)) in (1..).zip(table.columns) {
            let kind = match kind {
                Text => SqlType::Text,
                Flag => SqlType::Boolean,
                Count => SqlType::BigInt,
                Time => SqlType::TimestampTz,
            };
            rows.push(ColumnRow {
                schema: table.schema.to_owned(),
                table: table.name.to_owned(),
                position,
                name: (*name).to_owned(),
                kind: kind.to_string(),
                nullable: true,
                default: None,
                key: None,
            });
        }
    }
    Ok(rows)
}

fn columns(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = column_rows(scope)?.into_iter().map(|row| {
        vec![
            text(row.schema),
            text(row.table),
            Cell::Count(row.position),
            text(row.name),
            text(row.kind),
            Cell::Flag(row.nullable),
            Cell::Maybe(row.default),
            Cell::Maybe(row.key),
        ]
    });
    Ok(rows.collect())
}

fn constraints(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        let Relation::Table(table) = relation.as_ref() else { continue };
        let mut row = |name: &str, kind: &str, definition: String| {
            rows.push(vec![text(&table.schema), text(&table.name), text(name), text(kind), text(definition)]);
        };
        for key in &table.keys {
            let columns = table.positions(key).into_iter().map(|at| quoted(&table.columns[at].name).to_string());
            let kind = if key.primary { "PRIMARY KEY" } else { "UNIQUE" };
            row(&key.name, kind, format!("{kind} ({})", columns.collect::<Vec<_>>().join(", ")));
        }
        for check in &table.checks {
            row(&check.name, "CHECK", format!("CHECK ({})", check.text));
        }
        for reference in &table.references {
            row(&reference.name, "FOREIGN KEY", foreign_key(scope, table, reference)?);
        }
    }
    Ok(rows)
}

/// A foreign key as it could be written.
fn foreign_key(scope: &Arc<Scope>, table: &Table, reference: &Reference) -> Result<String> {
    let names = |table: &Table, ids: &[u32]| {
        let names = table.positions_of(ids).into_iter().map(|at| quoted(&table.columns[at].name).to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let parent = scope.catalog.table_by_id(reference.table)?;
    let parent =
        parent.as_deref().and_then(|parent| if let Relation::Table(parent) = parent { Some(parent) } else { None });
    let to =
        parent.map_or_else(String::new, |parent| format!("{} ({})", parent.label(), names(parent, &reference.key)));
    let mut text = format!("FOREIGN KEY ({}) REFERENCES {to}", names(table, &reference.columns));
    for (event, action) in [("DELETE", reference.on_delete), ("UPDATE", reference.on_update)] {
        if action != Action::NoAction {
            text.push_str(&format!(" ON {event} {}", action.sql()));
        }
    }
    if reference.deferred {
        text.push_str(" DEFERRABLE INITIALLY DEFERRED");
    }
    Ok(text)
}

/// The session's own database and those that are attached.
fn databases(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let row = |name: String, path: Option<&std::path::Path>, attached: bool, read_only: bool| {
        let path = path.map(|path| path.display().to_string());
        vec![Cell::Text(name), Cell::Maybe(path), Cell::Flag(attached), Cell::Flag(read_only)]
    };
    let own = &scope.session.engine.store;
    let name = own.path().and_then(|path| path.file_stem()).map_or("memory".into(), |stem| stem.to_string_lossy());
    let mut rows = vec![row(name.into_owned(), own.path(), false, own.is_read_only())];
    for (name, other) in super::session::lock(&scope.session.shared.attached).iter() {
        rows.push(row(name.clone(), Some(&other.path), true, other.read_only));
    }
    Ok(rows)
}

/// Keys and indexes: whatever finds rows without a scan.
fn indexes(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        let Relation::Table(table) = relation.as_ref() else { continue };
        for (at, key) in table.stored_keys().into_iter().enumerate() {
            let columns =
                table.positions_of(key.columns).into_iter().map(|at| quoted(&table.columns[at].name).to_string());
            rows.push(vec![
                text(&table.schema),
                text(&table.name),
                text(key.name),
                text(columns.collect::<Vec<_>>().join(", ")),
                Cell::Flag(key.unique),
                Cell::Flag(at < table.keys.len()),
            ]);
        }
    }
    Ok(rows)
}

/// Constraints with their kinds and columns.
fn information_constraints(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = constraints(scope)?.into_iter().map(|mut row| {
        row.truncate(4);
        let place = [text(DATABASE), row.remove(0), row.remove(0)];
        let [catalog, schema, table] = place;
        let (name, kind) = (row.remove(0), row.remove(0));
        vec![catalog, schema, table, name, kind]
    });
    Ok(rows.collect())
}

/// Columns of keys and foreign keys, by their positions in these.
fn key_columns(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        let Relation::Table(table) = relation.as_ref() else { continue };
        let keys = table.keys.iter().map(|key| (&key.name, &key.columns));
        let references = table.references.iter().map(|reference| (&reference.name, &reference.columns));
        for (name, columns) in keys.chain(references) {
            for (position, at) in (1..).zip(table.positions_of(columns)) {
                rows.push(vec![
                    text(DATABASE),
                    text(&table.schema),
                    text(&table.name),
                    text(name),
                    text(&table.columns[at].name),
                    Cell::Count(position),
                ]);
            }
        }
    }
    Ok(rows)
}

/// Foreign keys and the keys to which they refer.
fn referential_constraints(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for relation in scope.catalog.all_relations()? {
        let Relation::Table(table) = relation.as_ref() else { continue };
        for reference in &table.references {
            let parent = scope.catalog.table_by_id(reference.table)?;
            let key = match parent.as_deref() {
                Some(Relation::Table(parent)) => {
                    let keys = parent.stored_keys();
                    keys.iter().find(|key| key.columns == reference.key).map(|key| key.name.to_owned())
                }
                _ => None,
            };
            rows.push(vec![
                text(DATABASE),
                text(&table.schema),
                text(&reference.name),
                Cell::Maybe(key),
                text("NONE"),
                text(reference.on_update.sql()),
                text(reference.on_delete.sql()),
            ]);
        }
    }
    Ok(rows)
}

fn settings_rows(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = settings::ALL
        .iter()
        .map(|setting| Ok(vec![text(setting.name), text(scope.settings.show(setting.name)?), text(setting.meaning)]));
    rows.collect()
}

fn functions(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let own = built_in().names().map(|(kind, name)| (name.to_owned(), kind, None));
    let others = scope.extensions.functions().into_iter().map(|(extension, kind, name)| (name, kind, Some(extension)));
    let routines = scope.catalog.all_routines()?.into_iter().map(|one| (one.label(), one.kind.noun(), one.extension));
    let mut all: Vec<_> = own.chain(others).chain(routines).collect();
    all.sort();
    all.dedup();
    Ok(all.into_iter().map(|(name, kind, extension)| vec![text(name), text(kind), Cell::Maybe(extension)]).collect())
}

fn routines(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = scope.catalog.all_routines()?.into_iter().map(|one| {
        let parameters = one.parameters.iter().map(|parameter| match &parameter.default {
            Some(default) => format!("{} {} DEFAULT {default}", parameter.name, parameter.kind),
            None => format!("{} {}", parameter.name, parameter.kind),
        });
        let parameters = parameters.collect::<Vec<_>>().join(", ");
        let state = if routine::is_usable(scope, &one) { "active" } else { "dormant" };
        vec![
            text(&one.schema),
            text(&one.name),
            text(one.kind.noun()),
            text(parameters),
            text(one.returns.to_string()),
            text(&one.language),
            text(one.volatility.name()),
            Cell::Flag(one.inline.is_some()),
            text(state),
            Cell::Maybe(one.extension.clone().or(one.owner.clone())),
            text(&one.body),
        ]
    });
    Ok(rows.collect())
}

/// Triggers with their functions, if these are there.
fn triggers_and_functions(scope: &Scope) -> Result<Vec<(Trigger, Option<Routine>)>> {
    let functions = scope.catalog.all_routines()?;
    let all = scope.catalog.all_triggers()?.into_iter().map(|one| {
        let function = functions.iter().find(|function| {
            function.returns == Returns::Trigger
                && (&function.schema, &function.name) == (&one.function.0, &one.function.1)
        });
        (one, function.cloned())
    });
    Ok(all.collect())
}

fn triggers(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = triggers_and_functions(scope)?.into_iter().map(|(one, function)| {
        let usable = function.as_ref().is_some_and(|function| routine::is_usable(scope, function));
        let events = one.events.iter().map(|event| match event {
            Event::Update(columns) if !columns.is_empty() => format!("UPDATE OF {}", columns.join(", ")),
            other => other.name().to_owned(),
        });
        let function_name = match one.function.0.as_str() {
            crate::catalog::MAIN => one.function.1.clone(),
            schema => format!("{schema}.{}", one.function.1),
        };
        vec![
            text(&one.schema),
            text(&one.table),
            text(&one.name),
            text(one.timing.name()),
            text(events.collect::<Vec<_>>().join(" OR ")),
            text(one.level.name()),
            Cell::Maybe(one.when.clone()),
            text(function_name),
            Cell::Flag(!one.disabled),
            text(if usable { "active" } else { "dormant" }),
            Cell::Maybe(function.and_then(|function| function.extension).or(one.owner.clone())),
        ]
    });
    Ok(rows.collect())
}

fn information_routines(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = scope.catalog.all_routines()?.into_iter().map(|one| {
        vec![
            text(one.full_label()),
            text(DATABASE),
            text(&one.schema),
            text(&one.name),
            text(one.kind.noun().to_uppercase()),
            text(one.returns.to_string()),
            text(one.language.to_uppercase()),
            text(&one.body),
        ]
    });
    Ok(rows.collect())
}

/// One row for each event, as the standard has it.
fn information_triggers(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for one in scope.catalog.all_triggers()? {
        for event in &one.events {
            rows.push(vec![
                text(DATABASE),
                text(&one.schema),
                text(&one.name),
                text(event.name()),
                text(&one.schema),
                text(&one.table),
                Cell::Maybe(one.when.clone()),
                text(format!("EXECUTE FUNCTION {}()", one.function.1)),
                text(one.level.name()),
                text(one.timing.name()),
            ]);
        }
    }
    Ok(rows)
}

fn schemata(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    Ok(scope.catalog.schemas()?.into_iter().map(|schema| vec![text(DATABASE), text(schema.name)]).collect())
}

fn information_tables(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let relations = scope.catalog.all_relations()?;
    let stored = relations.iter().map(|relation| {
        let (schema, name) = relation.name();
        let kind = if relation.noun() == "table" { "BASE TABLE" } else { "VIEW" };
        vec![text(DATABASE), text(schema), text(name), text(kind)]
    });
    let system = names().map(|(schema, name)| vec![text(DATABASE), text(schema), text(name), text("SYSTEM VIEW")]);
    Ok(stored.chain(system).collect())
}

fn information_columns(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let rows = column_rows(scope)?.into_iter().map(|row| {
        vec![
            text(DATABASE),
            text(row.schema),
            text(row.table),
            text(row.name),
            Cell::Count(row.position),
            Cell::Maybe(row.default),
            text(if row.nullable { "YES" } else { "NO" }),
            text(row.kind),
        ]
    });
    Ok(rows.collect())
}

fn information_views(scope: &Arc<Scope>) -> Result<Vec<Vec<Cell>>> {
    let relations = scope.catalog.all_relations()?;
    let views = relations.iter().filter_map(|relation| match relation.as_ref() {
        Relation::View(view) => Some(vec![text(DATABASE), text(&view.schema), text(&view.name), text(&view.text)]),
        Relation::Table(_) => None,
    });
    Ok(views.collect())
}
