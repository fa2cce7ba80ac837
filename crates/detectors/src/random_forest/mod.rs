//! How a random forest is read: its code is that of all class trees.

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::DetectorKind;

use crate::ClassTrees;
use crate::detector::Reader;

/// How the kind is read.
pub(crate) const READER: Reader = Reader::Rows(|tensors| {
    Ok(Box::new(ClassTrees::read(DetectorKind::RandomForest.name(), tensors)?))
});
