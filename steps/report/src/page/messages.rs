//! The messages that were sent, and windows that were scored late.

use maud::{Markup, html};

use crate::contents::Contents;
use crate::tables::{Cell, Table};
use crate::units;

/// Returns the messages of the range as a table.
pub(super) fn table(contents: &Contents) -> Table {
    let mut table = Table::new(
        "messages",
        "Sent messages",
        &[("time", "Time"), ("title", "~Message"), ("urgent", "Urgent"), ("channels", "Through")],
    );
    let range = contents.scored.as_ref().map(|scored| scored.asked);
    let inside = |time| range.is_none_or(|(after, until)| time > after && time <= until);
    for message in contents.messages.iter().filter(|message| inside(message.time)) {
        table.push(vec![
            Cell::time(&contents.zone, message.time),
            Cell::text(&message.title),
            Cell::of(if message.urgent { "yes" } else { "no" }, message.urgent),
            Cell::of(message.channels.join(", "), message.channels.join(" ")),
        ]);
    }
    table
}

/// Shows the messages, or a sentence that there are none.
pub(super) fn html(table: &Table) -> Markup {
    html! {
        h3 { "Messages sent" }
        @if table.is_empty() {
            p { "There is no message of this range among the last hundred messages." }
        } @else {
            p {
                "This range has " (units::counted(table.len() as u64, "message"))
                " among the last hundred messages."
            }
            (table.html())
        }
    }
}
