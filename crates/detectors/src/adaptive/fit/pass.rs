//! A pass over the rows, in which the state of every entity is updated.
//!
//! Entities are distributed over a fixed number of groups. Within a group rows are in order of
//! time, and the sums of groups are combined in their order, so the result does not depend on the
//! number of threads.

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::columns::Overview;
use super::extremes::{Hour, Known, Seen};
use super::moments::Moments;
use crate::adaptive::{Distance, Extremes, Following, Memory};
use crate::fit::FitError;
use crate::fit::parts::{Part, Rows};
use crate::numbers::quantile;

/// Groups of entities.
const GROUPS: usize = 8;

/// Rows whose features are multiplied at a time.
const BLOCK_ROWS: usize = 256;

/// Maximum number of first rows of an entity that do not count for a gate's threshold, while the
/// windows fill.
const MOST_WARM_UP_ROWS: usize = 60;

/// Share of usual rows that determines the limit of the score above the short score. Otherwise the
/// hours after a fault, when only the long windows still include it, would rank above the next
/// fault.
const BOUND_SHARE: f64 = 0.99;

/// Maximum number of rows for the usual ranges; if there are more, evenly spaced ones are used.
const MOST_MOMENT_ROWS: usize = 2_000_000;

/// Inputs of every pass.
pub(super) struct Pass<'a, R> {
    pub(super) rows: &'a R,
    pub(super) following: &'a Following,
    pub(super) overview: &'a Overview,
    pub(super) folds: usize,
}

/// State of one entity during a pass.
struct Follower {
    memory: Memory,
    /// Number of rows so far, total number of rows, and the part that has the row.
    row: usize,
    rows: usize,
    fold: usize,
    /// Normal rows since the last row that is not normal.
    normal_rows: usize,
}

/// Position of a row.
#[derive(Clone, Copy)]
struct Place {
    /// Number of the row among those of its entity.
    row: usize,
    time_ms: i64,
    fold: usize,
    /// Whether the row may be used for learning.
    usual: bool,
    /// Whether the entity's windows have filled.
    warmed: bool,
}

/// The entities of a group, each with the data that a pass collects about it.
type Group<T> = Vec<Option<(Follower, T)>>;

/// The sums of the groups, and each entity's memory with its collected data.
type Followed<G, T> = (Vec<G>, BTreeMap<String, (Memory, T)>);

impl<R: Rows> Pass<'_, R> {
    /// Returns the windows of the three scores: of the model, of its gate, and none.
    pub(super) fn windows(&self) -> [&[usize]; 3] {
        [&self.following.windows, &self.following.gate_windows, &[]]
    }

    /// Follows every row; `each` gets the data of the group, the collected data of the entity, its
    /// memory, and the position of the row. Returns both, the entities by name.
    fn run<G: Send, T: Send + Default>(
        &self,
        mut of_groups: Vec<G>,
        each: impl Fn(&mut G, &mut T, &mut Memory, Place) + Sync,
    ) -> Result<Followed<G, T>, FitError> {
        let names: Vec<&String> = self.overview.entities.keys().collect();
        let in_group = names.len().div_ceil(GROUPS);
        let mut groups: Vec<Group<T>> =
            (0..GROUPS).map(|_| (0..in_group).map(|_| None).collect()).collect();
        self.rows.for_each_part(&mut |part| {
            let dealt = deal(part, &names);
            groups.par_iter_mut().zip(&mut of_groups).zip(dealt).for_each(
                |((group, own), rows)| {
                    for (entity, row) in rows {
                        let slot = &mut group[entity / GROUPS];
                        let (follower, collected) = slot
                            .get_or_insert_with(|| (self.follower(names[entity]), T::default()));
                        let place = follower.follow(self, part, row);
                        each(own, collected, &mut follower.memory, place);
                    }
                },
            );
            Ok(())
        })?;
        let mut entities = BTreeMap::new();
        for (number, group) in groups.into_iter().enumerate() {
            for (index, slot) in group.into_iter().enumerate() {
                let Some((follower, collected)) = slot else { continue };
                let name = names[index * GROUPS + number].clone();
                entities.insert(name, (follower.memory, collected));
            }
        }
        Ok((of_groups, entities))
    }

    fn follower(&self, name: &str) -> Follower {
        let entity = self.overview.entities.get(name);
        // The usual values of a single entity are those of all rows.
        let memory = match entity.filter(|_| self.overview.entities.len() > 1) {
            Some(entity) => self.following.first_of(&entity.usual()),
            None => self.following.fresh(),
        };
        Follower {
            memory,
            row: 0,
            rows: entity.map_or(0, |entity| entity.rows),
            fold: 0,
            normal_rows: self.following.longest(),
        }
    }

    /// Sums up the features of usual rows for the three scores: the moments of each fold. Returns
    /// them, the rows that were furthest from usual, and the number of usual rows.
    pub(super) fn moments(&self) -> Result<([Vec<Moments>; 3], Seen, usize), FitError> {
        let features = self.windows().map(|windows| self.following.features(windows));
        let stride = self.overview.rows.div_ceil(MOST_MOMENT_ROWS).max(1);
        let fresh =
            || features.map(|features| (0..self.folds).map(|_| Sums::new(features)).collect());
        let groups: Vec<([Vec<Sums>; 3], Seen, usize)> =
            (0..GROUPS).map(|_| (fresh(), Seen::default(), 0)).collect();
        let hour = self.hour();
        let each = |(sums, seen, usual): &mut ([Vec<Sums>; 3], Seen, usize),
                    own: &mut Hour,
                    memory: &mut Memory,
                    place: Place| {
            if place.row.is_multiple_of(hour) {
                seen.extend(own.end());
            }
            if !place.usual {
                return;
            }
            *usual += 1;
            if !place.row.is_multiple_of(stride) {
                return;
            }
            let [long, short, level] = sums;
            let [windows, of_short, none] = self.windows();
            let features = long[place.fold].add(self.following, memory, windows);
            if place.warmed {
                own.see(place.time_ms, features);
            }
            short[place.fold].add(self.following, memory, of_short);
            level[place.fold].add(self.following, memory, none);
        };
        let (groups, hours) = self.run(groups, each)?;
        let empty = |features| (0..self.folds).map(|_| Moments::new(features)).collect::<Vec<_>>();
        let (mut moments, mut extremes, mut usual) = (features.map(empty), Seen::default(), 0);
        for (sums, seen, rows) in groups {
            usual += rows;
            extremes.extend(seen);
            for (moments, sums) in moments.iter_mut().zip(sums) {
                moments.iter_mut().zip(sums).for_each(|(all, sums)| all.add(&sums.finish()));
            }
        }
        hours.into_values().for_each(|(_, mut hour)| extremes.extend(hour.end()));
        Ok((moments, extremes, usual))
    }

    /// Returns the rows of an hour.
    fn hour(&self) -> usize {
        usize::try_from(3_600_000 / self.following.step_ms.max(1)).unwrap_or(1).max(1)
    }

    /// Scores every row by distances without its fold: those of the windows, of the gate's and of no
    /// window. Extremes reduce the first of them, by the distance `whole`.
    pub(super) fn score(
        &self,
        distances: [&[Distance]; 3],
        known: &Known,
        whole: &Distance,
    ) -> Result<Scored, FitError> {
        let kept = [self.following.gate_rows, self.following.stay_rows];
        let of_groups = vec![UsualScores::default(); GROUPS];
        let each = |usual: &mut UsualScores, own: &mut Own, memory: &mut Memory, place: Place| {
            let mut score = |index: usize| {
                let windows = self.windows()[index];
                own.features.resize(self.following.features(windows), 0.0);
                self.following.write_features(memory, windows, &mut own.features);
                distances[index][place.fold].score(&own.features)
            };
            let [level, short, long] = [2, 1, 0].map(&mut score);
            let nearer = known.nearer(whole, &own.features, place.time_ms);
            if nearer < 0.0 {
                own.nearer.push((own.long.len(), nearer));
            }
            let newest = own.newest[0].iter().copied();
            let above_short = long - newest.fold(short, f64::max);
            own.long.push(long);
            own.above_short.push(above_short);
            for ((newest, score), kept) in own.newest.iter_mut().zip([short, level]).zip(kept) {
                newest.push_back(score);
                // The score of the next row will be added.
                while newest.len() >= kept.max(1) {
                    newest.pop_front();
                }
            }
            if place.warmed && place.usual {
                usual.short.push(short);
                usual.level.push(level);
                usual.above_short.push(above_short);
            }
        };
        let (groups, mut entities) = self.run(of_groups, each)?;
        let mut scored = Scored::default();
        for group in groups {
            scored.usual.short.extend(group.short);
            scored.usual.level.extend(group.level);
            scored.usual.above_short.extend(group.above_short);
        }
        scored.most_above_short = Self::most_above_short(&mut scored.usual.above_short);
        for (_, own) in entities.values_mut() {
            for (long, above) in own.long.iter_mut().zip(&own.above_short) {
                *long -= (above - scored.most_above_short).max(0.0);
            }
        }
        let series = entities.values().map(|(_, own)| own.long.as_slice());
        scored.extremes = known.with_floor_of(series, self.overview.rows);
        for (name, (mut memory, mut own)) in entities {
            for (row, nearer) in own.nearer {
                own.long[row] = scored.extremes.lowered(own.long[row], nearer);
            }
            let [mut short, mut level] = own.newest;
            memory.set_last_scores(short.make_contiguous(), level.make_contiguous());
            scored.long.insert(name.clone(), own.long);
            scored.memories.insert(name, memory);
        }
        Ok(scored)
    }

    /// Returns the value that nearly all usual rows stay below; infinite if there are none.
    fn most_above_short(above_short: &mut [f64]) -> f64 {
        above_short.sort_unstable_by(f64::total_cmp);
        if above_short.is_empty() { f64::INFINITY } else { quantile(above_short, BOUND_SHARE) }
    }
}

/// Returns the entity and the number of each row of a part, by group.
fn deal(part: &Part<'_>, names: &[&String]) -> Vec<Vec<(usize, usize)>> {
    let index = |name: &String| names.partition_point(|known| *known < name);
    let known: Vec<usize> = part.names.iter().map(index).collect();
    let mut dealt = vec![Vec::new(); GROUPS];
    for (row, entity) in part.entities.iter().enumerate() {
        let entity = known[*entity as usize];
        dealt[entity % GROUPS].push((entity, row));
    }
    dealt
}

impl Follower {
    /// Moves on to a row of the entity.
    fn follow<R>(&mut self, pass: &Pass<'_, R>, part: &Part<'_>, row: usize) -> Place {
        let number = self.row;
        self.row += 1;
        while number >= self.rows * (self.fold + 1) / pass.folds && self.fold + 1 < pass.folds {
            self.fold += 1;
        }
        self.normal_rows = if part.normal[row] { self.normal_rows + 1 } else { 0 };
        let values = part.values.row(row).to_vec();
        pass.following.follow(&mut self.memory, part.times[row].ms(), &values);
        Place {
            row: number,
            time_ms: part.times[row].ms(),
            fold: self.fold,
            usual: self.normal_rows >= pass.following.longest(),
            warmed: number >= MOST_WARM_UP_ROWS.min(self.rows / 10),
        }
    }
}

/// Data that scoring collects about an entity.
#[derive(Default)]
struct Own {
    long: Vec<f64>,
    /// How far each score is above the highest short score of the newest rows.
    above_short: Vec<f64>,
    /// Rows whose score is reduced, with the reduction.
    nearer: Vec<(usize, f64)>,
    /// Newest scores of the gate and of no window.
    newest: [VecDeque<f64>; 2],
    /// Features of the row, kept for their memory.
    features: Vec<f64>,
}

/// Scores of usual rows, in no particular order.
#[derive(Debug, Clone, Default)]
pub(super) struct UsualScores {
    /// Scores of the gate.
    pub(super) short: Vec<f64>,
    /// Scores of no window.
    pub(super) level: Vec<f64>,
    /// How far the model's score, before it is bounded, is above the highest of the gate's newest
    /// scores.
    above_short: Vec<f64>,
}

/// Result of scoring the rows.
#[derive(Default)]
pub(super) struct Scored {
    /// Scores of the model in the order of time, by entity.
    pub(super) long: BTreeMap<String, Vec<f64>>,
    /// Limit of their distance above the highest of the gate's newest scores.
    pub(super) most_above_short: f64,
    /// The extremes that reduced the scores.
    pub(super) extremes: Extremes,
    pub(super) usual: UsualScores,
    pub(super) memories: BTreeMap<String, Memory>,
}

/// Moments, and the rows that are not yet added to them.
struct Sums {
    moments: Moments,
    block: Vec<f64>,
    features: usize,
}

impl Sums {
    fn new(features: usize) -> Self {
        Self { moments: Moments::new(features), block: Vec::new(), features }
    }

    /// Adds the newest row's features and returns them.
    fn add(&mut self, following: &Following, memory: &Memory, windows: &[usize]) -> &[f64] {
        if self.block.len() >= BLOCK_ROWS * self.features {
            self.moments.take(&mut self.block);
        }
        let start = self.block.len();
        self.block.resize(start + self.features, 0.0);
        let features = &mut self.block[start..];
        following.write_features(memory, windows, features);
        // A missing value counts as usual.
        features.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        features
    }

    fn finish(mut self) -> Moments {
        self.moments.take(&mut self.block);
        self.moments
    }
}
