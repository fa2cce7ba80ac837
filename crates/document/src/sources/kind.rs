//! What every kind of source says about itself, besides what every extension says.

use std::path::{Path, PathBuf};

use contract::Span;

use super::{SampleColumn, Source};
use crate::extension::Extension;
use crate::url::HttpUrl;

/// Properties of a kind of source, in addition to its checks, secrets, files and destinations.
pub(crate) trait SourceKind: Extension {
    /// Returns whether its series have labels, one of which may be the row's label.
    fn takes_label(&self) -> bool {
        self.takes_queries()
    }

    /// Makes a column or label of the source the label of its rows, and returns whether it can; for a
    /// kind whose label is not that of its series.
    fn set_label(&mut self, _label: &str) -> bool {
        false
    }

    /// Returns whether its settings add a label to its rows; the label of series is not among them.
    fn has_label(&self) -> bool {
        false
    }

    /// Returns whether a shard fetches only the rows with its own values of the label.
    fn narrows_to_shard(&self) -> bool {
        false
    }

    /// Returns whether separate data is the test part.
    fn has_test(&self) -> bool {
        false
    }

    /// Returns whether the source uses the section `queries`.
    fn takes_queries(&self) -> bool {
        false
    }

    /// Returns whether its entities have labels or columns from which text columns can be made.
    fn takes_texts(&self) -> bool {
        self.takes_queries()
    }

    /// Returns the columns that the source fills and the document names.
    fn columns(&self, source: &Source, rate_window: Span) -> Vec<SampleColumn>;

    /// Returns whether the source may fill columns that the document does not name.
    fn has_other_columns(&self) -> bool {
        false
    }

    /// Returns the file or folder that holds the samples; `None` for a server.
    fn data(&self) -> Option<&PathBuf> {
        None
    }

    /// Returns whether a range is read from samples that were recorded in the store.
    fn is_recorded(&self) -> bool {
        false
    }

    /// Returns whether the samples have an end, at which `now: last_row` evaluates.
    fn has_last_row(&self) -> bool {
        false
    }

    /// Returns what an agent on each node records of the source; `None` if no agent is needed.
    fn of_node(&self) -> Option<OfNode<'_>> {
        None
    }

    /// Returns how old a row may be when it is joined, if the kind has a setting for it.
    fn ttl(&self) -> Option<Span> {
        None
    }
}

/// What an agent on each node records of a source.
#[derive(Debug, Clone, Copy)]
pub enum OfNode<'a> {
    /// A server on the node.
    Endpoint {
        /// The URL for all nodes; `None` if the document names none.
        url: Option<&'a HttpUrl>,
        /// Makes the settings, as the value of the source's field, with which only this URL is
        /// scraped.
        only: fn(&str) -> String,
    },
    /// A log file in a folder of the node.
    Log(&'a Path),
}
