//! Tests of the crate as its users see it.
#![expect(clippy::float_cmp, reason = "the same bytes are what is tested")]

mod bundle;
mod detectors;
mod support;
