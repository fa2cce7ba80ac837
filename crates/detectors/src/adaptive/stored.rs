//! How an adaptive model and its memories are stored.

use contract::tensors::{Arrays, Numbers, Record};
use contract::{StepError, Tensors};

use super::last_alarm::LastAlarm;
use super::memory::{Following, MOST_WINDOW_ROWS, MOST_WINDOWS, Memory};
use super::own::Own;
use super::spikes::Spikes;

impl Following {
    pub(crate) fn write(&self, tensors: &mut Tensors) {
        let whole = |values: &[usize]| values.iter().map(|value| *value as f64).collect::<Vec<_>>();
        let columns = self.columns();
        tensors.insert_f64("centre", &[columns], self.centre.clone());
        tensors.insert_f64("scale", &[columns], self.scale.clone());
        tensors.insert_f64("constant", &[self.constant.len()], whole(&self.constant));
        tensors.insert_f64("windows", &[self.windows.len()], whole(&self.windows));
        tensors.insert_f64("gate_windows", &[self.gate_windows.len()], whole(&self.gate_windows));
        #[expect(clippy::cast_precision_loss, reason = "a step is far below 2^53 ms")]
        let step = self.step_ms as f64;
        let numbers = [
            ("step_ms", step),
            ("mean_rate", self.mean_rate),
            ("variance_rate", self.variance_rate),
            ("deviation_floor", self.deviation_floor),
            ("cap", self.cap),
            ("clip", self.clip),
            ("gate_rows", self.gate_rows as f64),
            ("stay_rows", self.stay_rows as f64),
        ];
        for (name, number) in numbers {
            tensors.insert_f64(name, &[1], vec![number]);
        }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let out_of_range =
            |name: &str| StepError::damaged(format!("tensor `{name}` is out of range"));
        let columns = tensors.length("centre")?;
        let centre = tensors.take_f64("centre", &[columns])?;
        let scale = tensors.take_f64("scale", &[columns])?;
        if columns == 0 || scale.iter().any(|scale| *scale < 0.0) {
            return Err(out_of_range("scale"));
        }
        let length = tensors.length("constant")?;
        let constant = tensors.take_f64("constant", &[length])?.into_iter();
        let constant: Vec<usize> = constant.map(|c| crate::numbers::whole(c.max(0.0))).collect();
        let in_order = constant.windows(2).all(|pair| pair[0] < pair[1]);
        if !in_order || constant.last().is_some_and(|last| *last >= columns) {
            return Err(out_of_range("constant"));
        }
        let rows = |number: f64| {
            let whole = (1.0..=MOST_WINDOW_ROWS as f64).contains(&number);
            whole.then(|| crate::numbers::whole(number))
        };
        let mut windows = |name: &str| -> Result<Vec<usize>, StepError> {
            let length = tensors.length(name)?;
            let numbers = tensors.take_f64(name, &[length])?;
            let windows: Option<Vec<usize>> = numbers.into_iter().map(rows).collect();
            windows.filter(|w| w.len() <= MOST_WINDOWS).ok_or_else(|| out_of_range(name))
        };
        let (windows, gate_windows) = (windows("windows")?, windows("gate_windows")?);
        let has_stay_rows = tensors.shape("stay_rows").is_some();
        let mut number = |name: &str, low: f64, high: f64| -> Result<f64, StepError> {
            let number = tensors.take_number(name)?;
            (low..=high).contains(&number).then_some(number).ok_or_else(|| out_of_range(name))
        };
        // Bundles of earlier versions have none: their alarms end with the gate.
        let stay_rows =
            if has_stay_rows { number("stay_rows", 0.0, MOST_WINDOW_ROWS as f64)? } else { 0.0 };
        let step = number("step_ms", 1.0, 1e15)?;
        Ok(Self {
            step_ms: i64::try_from(crate::numbers::whole(step)).unwrap_or(i64::MAX),
            mean_rate: number("mean_rate", 0.0, 1.0)?,
            variance_rate: number("variance_rate", 0.0, 1.0)?,
            deviation_floor: number("deviation_floor", 1e-6, 1e6)?,
            cap: number("cap", 0.0, 1e6)?,
            clip: number("clip", 0.0, 1e6)?,
            gate_rows: rows(number("gate_rows", 1.0, MOST_WINDOW_ROWS as f64)?)
                .ok_or_else(|| out_of_range("gate_rows"))?,
            stay_rows: crate::numbers::whole(stay_rows),
            centre,
            scale,
            constant,
            windows,
            gate_windows,
        })
    }
}

/// Age of a missing value; no present value becomes this old.
const NO_VALUE: u8 = u8::MAX;

impl Record for Memory {
    fn to_arrays(&self) -> Arrays {
        let age = |last: &Option<(f64, u32)>| match last {
            Some((_, age)) => u8::try_from(*age).unwrap_or(NO_VALUE),
            None => NO_VALUE,
        };
        let last = self.last.iter().map(|last| last.map_or(0.0, |(value, _)| value)).collect();
        // A column is one of some hundred.
        let column = |column: &usize| u32::try_from(*column).unwrap_or(u32::MAX);
        let arrays = Arrays::default()
            .with("time_ms", Numbers::I64(self.time_ms.into_iter().collect()))
            .with("means", Numbers::F64(self.means.clone()))
            .with("variances", Numbers::F64(self.variances.clone()))
            .with("last", Numbers::F64(last))
            .with("last_age_rows", Numbers::U8(self.last.iter().map(age).collect()))
            .with("recent", Numbers::F16(self.recent.iter().flatten().copied().collect()))
            .with("short_scores", Numbers::F64(self.short_scores.iter().copied().collect()))
            .with("level_scores", Numbers::F64(self.level_scores.iter().copied().collect()))
            .with("alarmed", Numbers::U8(vec![u8::from(self.alarmed)]))
            .with("ended", Numbers::U8(vec![u8::from(self.ended)]))
            .with("drifting", Numbers::U32(self.drifting.iter().map(column).collect()));
        self.last_alarm.write(self.own.write(self.spikes.write(arrays)))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let last = arrays.take_f64("last")?.into_iter().zip(arrays.take_u8("last_age_rows")?);
        let last = last.map(|(value, age)| (age != NO_VALUE).then_some((value, u32::from(age))));
        let means = arrays.take_f64("means")?;
        let recent = arrays.take_f16("recent")?;
        let recent = recent.chunks_exact(means.len().max(1)).map(<[f64]>::to_vec).collect();
        let drifting = arrays.take_u32("drifting")?.into_iter().map(|column| column as usize);
        Ok(Self {
            time_ms: arrays.take_i64("time_ms")?.first().copied(),
            means,
            variances: arrays.take_f64("variances")?,
            last: last.collect(),
            own: Own::read(arrays)?,
            spikes: Spikes::read(arrays)?,
            last_alarm: LastAlarm::read(arrays)?,
            recent,
            short_scores: arrays.take_f64("short_scores")?.into(),
            level_scores: arrays.take_f64("level_scores")?.into(),
            alarmed: arrays.take_flag("alarmed")?,
            ended: arrays.take_flag("ended")?,
            drifting: drifting.collect(),
        })
    }
}
