//! Tables that steps exchange, and their Parquet files.
//!
//! `time` is the end of the row's window (milliseconds, UTC), `entity` is text (node, pod, flow
//! source; empty for a whole cluster), every other number is `f64`. In memory a gap is `NaN`; in
//! a file it is null. Files are compressed with zstd and open in any Parquet reader.

pub mod columns;
pub mod dataset;
pub mod external;
pub mod features;
mod joined;
pub mod labels;
mod parquet;
pub mod rows;
pub mod samples;
pub mod table;

pub use dataset::Dataset;
pub use features::{Extent, FeatureTable, FeatureWriter, RowLabels};
pub use labels::{LabelInterval, is_normal};
pub use rows::{Rows, Values};
pub use samples::{Samples, SamplesWriter};
pub use table::{Column, Table};
