//! Feature tables of different entities as one table.

use std::collections::HashMap;

use contract::StepError;

use crate::FeatureTable;

impl FeatureTable {
    /// Makes one table of tables of different entities, such as those of the shards of a run: the rows
    /// in order of time, and then of entity.
    ///
    /// Errors: refused where two tables have different features, or one alone has labels.
    pub fn joined(tables: Vec<Self>) -> Result<Self, StepError> {
        let mut tables = tables.into_iter();
        let Some(mut all) = tables.next() else {
            return Err(StepError::bug("there is no table to join"));
        };
        let mut numbers: HashMap<String, u32> =
            all.table.entities.iter().cloned().zip(0..).collect();
        for mut table in tables {
            let labelled = all.labels.is_some() != table.labels.is_some();
            let difference = all.contract.first_difference(&table.contract);
            let difference = difference.or(labelled.then(|| "one alone has labels".to_owned()));
            if let Some(difference) = difference {
                return Err(StepError::refused(format!(
                    "the shards have different features: {difference}"
                ))
                .hint("`required: true` at each query refuses a training in which a shard has none of it"));
            }
            let mut entities = std::mem::take(&mut all.table.entities);
            let mut number = |name: String| {
                if let Some(number) = numbers.get(&name) {
                    return *number;
                }
                let number = u32::try_from(entities.len()).unwrap_or(u32::MAX);
                entities.push(name.clone());
                numbers.insert(name, number);
                number
            };
            let own: Vec<u32> =
                std::mem::take(&mut table.table.entities).into_iter().map(&mut number).collect();
            for entity in &mut table.table.entity {
                *entity = own.get(*entity as usize).copied().unwrap_or(u32::MAX);
            }
            table.table.entities = entities;
            all.extend(table);
        }
        let mut order: Vec<usize> = (0..all.rows()).collect();
        let key = |row: usize| (all.table.times[row], all.table.entity_of(row));
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        Ok(all.select(&order))
    }
}

#[cfg(test)]
mod tests {
    use contract::{FeatureColumn, FeatureContract, Span, Timestamp};

    use super::*;
    use crate::Table;

    fn table(name: &str, rows: &[(i64, &str, f64)]) -> FeatureTable {
        let mut table = Table::empty([name]);
        for (time, entity, value) in rows {
            table.times.push(Timestamp::from_ms(*time));
            let entity = table.entity_index(entity);
            table.entity.push(entity);
            table.columns[0].values.push(*value);
        }
        let column =
            FeatureColumn { name: name.to_owned(), unit: String::new(), formula: String::new() };
        let contract = FeatureContract {
            format: FeatureContract::FORMAT,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: String::new(),
            columns: vec![column],
        };
        FeatureTable { contract, warm_up: vec![false; rows.len()], table, labels: None }
    }

    #[test]
    fn joined_tables_have_all_rows_in_order_of_time_and_entity() {
        let one = table("x", &[(0, "d", 1.0), (0, "b", 2.0), (60, "b", 3.0)]);
        let two = table("x", &[(0, "c", 4.0), (60, "a", 5.0), (120, "b", 6.0)]);
        let all = FeatureTable::joined(vec![one, two]).unwrap();
        let rows: Vec<(i64, &str, f64)> = (0..all.rows())
            .map(|row| {
                let value = all.table.columns[0].values[row];
                (all.table.times[row].ms(), all.table.entity_of(row), value)
            })
            .collect();
        let expected = [
            (0, "b", 2.0),
            (0, "c", 4.0),
            (0, "d", 1.0),
            (60, "a", 5.0),
            (60, "b", 3.0),
            (120, "b", 6.0),
        ];
        assert_eq!(rows, expected);
        assert_eq!(all.table.entities.len(), 4);
    }

    #[test]
    fn tables_with_different_features_are_refused() {
        let tables = vec![table("x", &[]), table("y", &[])];
        let error = FeatureTable::joined(tables).unwrap_err();
        assert!(error.message.contains("different features"), "{error}");
    }
}
