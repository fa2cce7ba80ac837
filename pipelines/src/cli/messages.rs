//! `lynceus messages`: the messages that were sent, from the store.

use std::collections::BTreeMap;

use alert::AlertState;
use alert::message::Message;
use contract::{Span, StepError, Timestamp};
use serde_json::json;
use store::{ObjectStore, state};

use super::context::{StorePlace, clock};
use super::{Global, OutputFormat, print, print_json};

/// Flags of `lynceus messages`.
#[derive(Debug, clap::Args)]
pub(crate) struct MessagesArgs {
    /// Name of the pipeline
    pipeline: String,
    /// Length of the time range before the end
    #[arg(long, value_name = "DURATION", default_value = "24h", conflicts_with = "from")]
    last: Span,
    /// Show messages after this time, instead of `--last` before the end
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Show messages up to this time [default: the clock]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Show only the titles, one per line
    #[arg(long)]
    titles: bool,
}

pub(crate) fn execute(global: &Global, args: &MessagesArgs) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?.open()?;
    let to = args.to.unwrap_or_else(clock);
    let from = args.from.unwrap_or(to - args.last);
    report::contents::check_range(from, to)?;
    let mut messages = Vec::new();
    let mut delivered = Delivered::default();
    for path in store::shard::paths(store.as_ref(), &args.pipeline)? {
        messages.extend(alert::archive::read(store.as_ref(), &path, from, to)?);
        delivered.add(store.as_ref(), &path)?;
    }
    messages.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key)));
    if messages.is_empty() && store.list(&format!("state/{}/", args.pipeline), None, 1)?.is_empty()
    {
        crate::find::known(&args.pipeline, &global.pipelines)?;
    }
    if global.output() == OutputFormat::Json {
        let items = messages.iter().map(|message| {
            json!({"message": message, "channels": delivered.to(message), "waits_for": delivered.waits(message)})
        });
        return print_json(&items.collect::<Vec<_>>());
    }
    if messages.is_empty() {
        return print(&format!("no messages from {from} to {to}\n"));
    }
    let texts = messages.iter().map(|message| text(message, &delivered, args.titles));
    print(&texts.collect::<String>())
}

/// Channels that accepted the last messages, and channels that have not yet.
#[derive(Default)]
struct Delivered {
    to: BTreeMap<String, Vec<String>>,
    waits: BTreeMap<String, Vec<String>>,
}

impl Delivered {
    /// Adds the delivery state of a pipeline or a shard.
    fn add(&mut self, store: &dyn ObjectStore, path: &str) -> Result<(), StepError> {
        let stored = state::read::<AlertState>(store, path, AlertState::NAME)?;
        let state = stored.map(|stored| stored.value).unwrap_or_default();
        self.to.extend(state.told.into_iter().map(|told| (told.key, told.channels)));
        self.waits.extend(state.pending.into_iter().map(|it| (it.message.key, it.channels)));
        Ok(())
    }

    fn to(&self, message: &Message) -> &[String] {
        self.to.get(&message.key).map(Vec::as_slice).unwrap_or_default()
    }

    fn waits(&self, message: &Message) -> &[String] {
        self.waits.get(&message.key).map(Vec::as_slice).unwrap_or_default()
    }
}

fn text(message: &Message, delivered: &Delivered, titles: bool) -> String {
    if titles {
        return format!("{}  {}\n", message.time, message.title);
    }
    let mut text = format!("{}  {}\n", message.time, message.title);
    for line in message.text.lines().filter(|line| *line != message.title) {
        text.push_str(&format!("  {line}\n"));
    }
    let list = |names: &[String]| names.join(", ");
    match (delivered.to(message), delivered.waits(message)) {
        ([], []) => {}
        (to, []) => text.push_str(&format!("  sent to {}\n", list(to))),
        ([], waits) => text.push_str(&format!("  waits for {}\n", list(waits))),
        (to, waits) => {
            text.push_str(&format!("  sent to {}, waits for {}\n", list(to), list(waits)));
        }
    }
    text.push('\n');
    text
}
