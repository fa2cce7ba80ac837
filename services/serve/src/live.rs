//! The bundle at which an alias points; it is replaced while requests continue.

use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use contract::bundle::BundleManifest;
use contract::{Division, Shard, StepError};
use models::AnyBundle;
use store::{ObjectStore, Registry};

use crate::args::ServeArgs;
use crate::metrics::Metrics;

/// A version that is served.
#[derive(Debug)]
pub struct Served {
    /// The model of each shard, in their order; for a pipeline without shards, its only model.
    pub parts: Vec<(Option<Shard>, AnyBundle)>,
    /// The common manifest of all parts, with the members of the first.
    pub manifest: BundleManifest,
    /// Its version.
    pub version: String,
    /// SHA-256 of its feature contract.
    pub contract_sha256: String,
}

impl Served {
    /// Fetches a version.
    ///
    /// Errors: those of the registry, and refused (3) for shards with different features, because a
    /// request has one set of features.
    fn load(registry: &Registry<'_>, version: String) -> Result<Self, StepError> {
        if let Some(Division { label, .. }) = registry.manifest(&version)?.division {
            return Err(StepError::refused(format!(
                "the shards of version `{version}` are divided by the label `{label}`, which a request does not name"
            ))
            .hint("`shards: {by: hash}` can be served: the name of an entity says its shard"));
        }
        let fetched = registry.fetch_parts(&version)?.into_iter();
        let parts = fetched.map(|(shard, files)| Ok((shard, AnyBundle::from_files(&files)?)));
        let parts: Vec<(Option<Shard>, AnyBundle)> = parts.collect::<Result<_, StepError>>()?;
        let Some((_, first)) = parts.first() else {
            return Err(StepError::bug(format!("version `{version}` has no part")));
        };
        let manifest = first.manifest().clone();
        for (shard, model) in &parts {
            let difference = manifest.contract.first_difference(&model.manifest().contract);
            if let (Some(shard), Some(difference)) = (shard, difference) {
                return Err(StepError::refused(format!(
                    "shard {shard} of version `{version}` has other features than the first: {difference}"
                ))
                .hint("`required: true` at each query refuses a training in which a shard has none of it"));
            }
        }
        let contract_sha256 = manifest.contract.sha256()?;
        Ok(Self { parts, manifest, version, contract_sha256 })
    }
}

/// The current versions.
#[derive(Debug)]
pub struct Live {
    current: RwLock<Option<Arc<Served>>>,
    shadow: RwLock<Option<Arc<Served>>>,
    closed: (Mutex<bool>, Condvar),
}

impl Live {
    /// Opens the store, loads the versions of the aliases, and checks for changes on a separate
    /// thread.
    ///
    /// Errors: usage (2) for a store's URL, unavailable (4) if the store cannot be read. An alias
    /// that does not exist yet is not an error: the server is not ready until it exists.
    pub fn open(args: &ServeArgs, metrics: Arc<Metrics>) -> Result<Arc<Self>, StepError> {
        let store = store::open(&args.store)?;
        let live = Arc::new(Self {
            current: RwLock::default(),
            shadow: RwLock::default(),
            closed: (Mutex::new(false), Condvar::new()),
        });
        live.refresh(store.as_ref(), args)?;
        let (watched, args) = (Arc::clone(&live), args.clone());
        std::thread::spawn(move || {
            while !watched.wait(args.options.poll.to_std()) {
                if let Err(error) = watched.refresh(store.as_ref(), &args) {
                    metrics.failed_reload();
                    tracing::warn!(%error, "Kept the version: the alias cannot be read");
                }
            }
        });
        Ok(live)
    }

    /// Returns the live version.
    pub fn current(&self) -> Option<Arc<Served>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the shadow version, whose scores are not returned.
    pub fn shadow(&self) -> Option<Arc<Served>> {
        self.shadow.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the thread that checks for new versions.
    pub fn close(&self) {
        *self.closed.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.closed.1.notify_all();
    }

    /// Waits, and returns whether it was closed in the meantime.
    fn wait(&self, duration: Duration) -> bool {
        let closed = self.closed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.closed.1.wait_timeout_while(closed, duration, |closed| !*closed);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn refresh(&self, store: &dyn ObjectStore, args: &ServeArgs) -> Result<(), StepError> {
        replace(&self.current, store, &args.pipeline, &args.options.alias)?;
        match &args.options.shadow {
            Some(alias) => replace(&self.shadow, store, &args.pipeline, alias),
            None => Ok(()),
        }
    }
}

/// Loads the version at which an alias points, unless it is loaded already.
fn replace(
    slot: &RwLock<Option<Arc<Served>>>,
    store: &dyn ObjectStore,
    pipeline: &str,
    alias: &str,
) -> Result<(), StepError> {
    let registry = Registry::new(store, pipeline);
    let record = registry.alias(alias)?;
    let loaded = slot.read().unwrap_or_else(PoisonError::into_inner).clone();
    let (now, before) =
        (record.as_ref().map(|it| &it.version), loaded.as_ref().map(|it| &it.version));
    if now == before {
        return Ok(());
    }
    let served = match record {
        None => None,
        Some(record) => {
            let served = Served::load(&registry, record.version)?;
            tracing::info!(alias, version = served.version, "Loaded a version");
            Some(Arc::new(served))
        }
    };
    *slot.write().unwrap_or_else(PoisonError::into_inner) = served;
    Ok(())
}
