//! Samples that were recorded in the store, of this pipeline or another one.

use contract::StepError;
use document::sources::recorded::RecordedSource;

use crate::recorded;
use crate::source::{Opener, Opening, Raw, Recorded, Source};

impl Opener for RecordedSource {
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let columns = self.columns.iter().map(|column| column.name.clone()).collect();
        recorded::open(&self.pipeline, &self.source, columns, &opening)
    }

    fn raw<'a>(&'a self, _own: Recorded<'a>) -> Option<Raw<'a>> {
        Some(Raw::Segments(Recorded { pipeline: &self.pipeline, source: &self.source }))
    }
}
