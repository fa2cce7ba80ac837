//! `serve`: the live bundle of a pipeline behind the Open Inference Protocol (version 2, REST), and
//! `:predict` of version 1.
//!
//! The endpoint is a pure function of the live bundle and the request: a stateful detector starts
//! every request from its state after training, and the rows of a request are scored in the order
//! of their times. The step `score` does scheduled scoring with state.
//!
//! - [`args`] are the flags; [`live`] contains the bundle at which the alias points, and replaces
//!   it without dropping a request;
//! - [`model`] scores rows, for both tasks;
//! - [`protocol`] is the protocol's JSON, [`tensor`] its tensors, in JSON and binary;
//! - [`predict`] turns tensors into rows, and verdicts into tensors;
//! - [`judge`] scores the rows of a request, [`batches`] those of several requests at once;
//! - [`routes`] are the paths, [`limits`] authentication and the limit of requests in flight,
//!   [`listen`] is TCP and TLS, [`metrics`] the metrics for Prometheus, [`replay`] the page that
//!   replays labelled rows.

pub mod args;
pub mod batches;
pub mod judge;
pub mod limits;
pub mod listen;
pub mod live;
pub mod metrics;
pub mod model;
pub mod predict;
pub mod protocol;
pub mod replay;
pub mod routes;
pub mod tensor;

use std::sync::Arc;
use std::time::Duration;

use contract::{SYSTEM_HINT, StepError};

use args::ServeArgs;
use batches::Batches;
use judge::Judge;
use limits::Limits;
use listen::Listener;
use live::Live;
use metrics::Metrics;
use replay::Replay;
use routes::App;

/// Time in which requests in flight must finish after the stop.
const GRACE: Duration = Duration::from_millis(1500);

/// Serves until SIGINT or SIGTERM, then finishes the requests in flight within 1.5 seconds.
///
/// `ready` is called with the address once connections are accepted.
///
/// Errors: usage (2) for invalid flags, files or addresses; unavailable (4) for a store that cannot
/// be reached at the start.
pub fn run(args: &ServeArgs, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), StepError> {
    let failed = |error: std::io::Error| {
        StepError::unavailable(format!("cannot start the server: {error}")).hint(SYSTEM_HINT)
    };
    let threads = usize::from(args.options.threads.max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(failed)?;
    let metrics = Arc::new(Metrics::default());
    let live = Live::open(args, Arc::clone(&metrics))?;
    let limits = Limits::read(args)?;
    let batches = Batches::start(args, &metrics)?;
    let timeout = args.options.timeout.to_std();
    let judge = Judge { live: Arc::clone(&live), metrics, limits, timeout, batches };
    let app = App::new(args, judge);
    let replay = Replay::read(args)?;
    let served = runtime.block_on(async {
        let listener = Listener::bind(args).await?;
        let address = listener.address();
        tracing::info!(%address, pipeline = args.pipeline, "Listening");
        ready(address);
        let stop = stop_signal()?;
        serve(listener, app, replay, stop).await
    });
    live.close();
    // A blocking computation that is still running must not delay the stop.
    runtime.shutdown_timeout(Duration::from_millis(200));
    served
}

async fn serve(
    listener: Listener,
    app: App,
    replay: Option<Arc<Replay>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StepError> {
    let (stopped, mut is_stopped) = tokio::sync::watch::channel(false);
    let draining = app.clone();
    let signal = async move {
        stop.await;
        draining.drain();
        stopped.send_replace(true);
    };
    let pages = replay.map(Replay::router).unwrap_or_default();
    let server = axum::serve(listener, app.router().merge(pages)).with_graceful_shutdown(signal);
    let deadline = async {
        // An error means that the sender is closed, which also ends it.
        if is_stopped.wait_for(|stopped| *stopped).await.is_err() {
            return;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { server.await } => served.map_err(|error| {
            StepError::unavailable(format!("the server failed: {error}")).hint(SYSTEM_HINT)
        }),
        () = deadline => {
            tracing::warn!("Closed connections that were still open at the end of the grace period");
            Ok(())
        }
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, StepError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| {
        StepError::unavailable(format!("cannot wait for signals: {error}")).hint(SYSTEM_HINT)
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
