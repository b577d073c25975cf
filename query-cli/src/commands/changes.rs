//! `changes`: what changed, and who changed it.

use kube9_db::read::{Filter, Pattern, Row};
use kube9_model::time::Timestamp;

use super::event_table::{Streamed, age, in_namespace, is_narrow};
use super::list::Listing;
use super::{Context, watch};
use crate::answers::change::{by, object, what};
use crate::args::{ChangesArgs, Field, Format};
use crate::error::CliError;
use crate::output::{cell, metadata};
use crate::table::{Cell, Column, Table};
use crate::target;
use crate::terminal::Terminal;

pub(super) fn run(context: &Context, args: &ChangesArgs) -> Result<(), CliError> {
    let now = context.now();
    let mut filter = args.resolve(&now)?;
    let reader = context.open()?;
    if let Some(named) = &args.object {
        let namespace = match &filter.namespaces[..] {
            [Pattern::Exact(namespace)] => Some(namespace.clone()),
            _ => None,
        };
        let target = target::find(&reader, named, namespace.as_deref(), &now.zone)?;
        filter.namespaces.clear();
        filter.objects.push(target.pattern());
    }
    if args.follow {
        drop(reader);
        // The newest of the range, then new ones.
        return watch::follow(
            context,
            &Filter {
                until: None,
                ..filter
            },
            args.page.limit.min(10),
            Streamed::Changes,
        );
    }
    let request = args.page.request(filter);
    let page = reader.list(&request)?;
    let listing = Listing {
        name: "changes",
        what: "change",
        fields: &Field::COLUMNS,
        request: &request,
        page: &page,
    };
    listing.write(context, |rows| {
        table(rows, context.format, context.terminal, now.time)
    })
}

fn table(rows: &[Row], format: Format, terminal: Terminal, now: Timestamp) -> Table {
    let is_wide = format == Format::Wide;
    let is_narrow = is_narrow(format, terminal);
    let mut columns = vec![Column::fixed("AGE")];
    if !is_narrow {
        columns.push(Column::shrinkable("NAMESPACE", 8));
    }
    columns.extend([
        Column::shrink_middle("OBJECT", 12),
        Column::shrinkable("WHAT", 16).with_weight(3),
        Column::shrinkable("BY", 8),
    ]);
    if is_wide {
        columns.insert(0, Column::fixed("ID"));
        columns.extend([Column::fixed("REASON"), Column::fixed("SEVERITY")]);
    }
    let mut table = Table::new(columns);
    for row in rows {
        let metadata = metadata(row);
        let namespace = row.object_namespace.as_deref();
        let name = object(&metadata, row);
        let name = if is_narrow {
            in_namespace(name, namespace)
        } else {
            name
        };
        let mut cells = vec![Cell::new(&age(row, &metadata, now))];
        if !is_narrow {
            cells.push(Cell::new(namespace.unwrap_or("-")));
        }
        cells.extend([
            Cell::new(&name),
            Cell::sentence(&what(&metadata, row)),
            Cell::new(&by(&metadata)),
        ]);
        if is_wide {
            cells.insert(0, Cell::new(&row.id));
            let reason = metadata
                .get("reason")
                .map(|reason| cell(reason).into_owned());
            cells.extend([
                Cell::new(&reason.unwrap_or_default()),
                Cell::severity(&row.severity),
            ]);
        }
        table.push(cells);
    }
    table
}
