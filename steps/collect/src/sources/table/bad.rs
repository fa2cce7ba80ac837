//! Cells that are neither numbers nor gaps: counted, named and bounded.

use std::path::Path;

use contract::StepError;

use super::columns::FileColumn;

/// The bad cells of one column.
#[derive(Debug, Clone, Default)]
pub(super) struct Bad {
    cells: usize,
    /// Position and content of the first bad cell.
    first: Option<String>,
}

impl Bad {
    /// Counts a bad cell; `what` makes the text of the first one.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.cells += 1;
        self.first.get_or_insert_with(what);
    }

    /// Returns whether there are more bad cells than `numbers`, so that the column contains text.
    pub(super) fn is_text(&self, numbers: usize) -> bool {
        self.cells > 0 && self.cells >= numbers
    }

    /// Returns the first bad cell.
    pub(super) fn first(&self) -> &str {
        self.first.as_deref().unwrap_or_default()
    }
}

/// The bad cells of the columns that are read, and their limit.
#[derive(Debug)]
pub(super) struct BadCells {
    pub(super) columns: Vec<Bad>,
    pub(super) rows: usize,
    max_ratio: f64,
}

impl BadCells {
    /// Starts with zero counts.
    pub(super) fn new(columns: usize, max_ratio: f64) -> Self {
        Self { columns: vec![Bad::default(); columns], rows: 0, max_ratio }
    }

    /// Returns notes about the bad cells, one sentence for each column.
    ///
    /// Errors: refused for a column with more of them than the table's settings allow.
    pub(super) fn check(
        &self,
        path: &Path,
        columns: &[FileColumn],
    ) -> Result<Vec<String>, StepError> {
        let mut warnings = Vec::new();
        for (bad, column) in self.columns.iter().zip(columns).filter(|(bad, _)| bad.cells > 0) {
            let (first, cells, rows) = (bad.first(), bad.cells, self.rows);
            if cells as f64 > self.max_ratio * rows as f64 {
                let percent = 100.0 * self.max_ratio;
                return Err(StepError::refused(format!(
                    "{first}; {cells} of {rows} cells are neither numbers nor gaps, at most {percent} % may be"
                ))
                .hint(bad.hint()));
            }
            warnings.push(format!(
                "column `{}` of `{}`: {cells} of {rows} cells are not numbers and count as missing, the first one {first}",
                column.name,
                path.display()
            ));
        }
        Ok(warnings)
    }
}

impl Bad {
    /// Returns the setting that corrects the problem of the first bad cell.
    fn hint(&self) -> &'static str {
        let cell = self.first().rsplit_once("`: `").and_then(|(_, rest)| rest.split('`').next());
        let cell = cell.unwrap_or_default().trim_start_matches(['-', '+']);
        let is_decimal = cell.split_once(',').is_some_and(|(whole, decimals)| {
            let is_digits =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_digits(whole) && is_digits(decimals)
        });
        if is_decimal {
            return "`table.decimal: \",\"` reads numbers with a decimal comma";
        }
        "`table.gaps` names what means a missing value, `table.columns` the columns to read, `table.max_bad_ratio` how many cells may be bad"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comma_is_recognised_in_the_first_bad_cell() {
        let hint = |cell: &str| {
            let mut bad = Bad::default();
            bad.note(|| format!("`t.csv:3`: column `cpu`: `{cell}` is not a number"));
            bad.hint()
        };
        assert!(hint("1,5").contains("decimal") && hint("-12,25").contains("decimal"));
        for cell in ["x", "1.000,5", ",5", "1,2,3", "n/a"] {
            assert!(hint(cell).contains("table.gaps"), "{cell}");
        }
    }
}
