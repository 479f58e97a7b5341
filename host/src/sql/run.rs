//! Runs physical plans: the engine is asynchronous, everything around it is not. Ordinary statements share one runtime;
//! a statement inside another one gets a thread and a runtime of its own, because the shared workers may all be waiting
//! for exactly that statement.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::unconstrained;

use super::fault;
use super::token::Token;
use crate::error::{Error, Result, codes};

/// Batches that wait for a slow reader.
const WAITING_MAX: usize = 2;

/// The batches of a running plan, in the order they come.
pub(crate) struct Batches {
    schema: SchemaRef,
    receiver: Option<Receiver<Result<RecordBatch>>>,
}

/// Starts a plan. Dropping the batches ends it.
pub(crate) fn start(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    token: &Token,
    nested: bool,
) -> Result<Batches> {
    let (sender, receiver) = channel(WAITING_MAX);
    let schema = plan.schema();
    let drive = drive(plan, task, sender, token.clone());
    if nested || Handle::try_current().is_ok() {
        let runtime = Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
        let named = std::thread::Builder::new().name("kodiak-nested".to_owned());
        named.spawn(move || runtime.block_on(drive)).map_err(no_thread)?;
    } else {
        shared()?.spawn(drive);
    }
    Ok(Batches { schema, receiver: Some(receiver) })
}

/// Waits for something that needs no runtime, such as planning, and turns a panic into an error.
pub(crate) fn wait<T>(future: impl Future<Output = Result<T, DataFusionError>>) -> Result<T> {
    let outcome = block_on(unconstrained(AssertUnwindSafe(future).catch_unwind()));
    outcome.map_err(|payload| fault::panicked(payload.as_ref()))?.map_err(|error| fault::fold(&error))
}

/// Waits on this thread. Planning evaluates constant calls of functions, and an extension's function may run SQL, which
/// is planned in turn: so this may stand inside itself, which the executor of `futures` refuses.
fn block_on<F: Future>(future: F) -> F::Output {
    let signal = Arc::new(Signal { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // A wait further in may take the thread's token that was meant for this one; the flag stays.
        while !signal.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs what may panic inside the engine, and turns the panic into an error.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(fault::panicked(payload.as_ref())))
}

fn shared() -> Result<&'static Runtime> {
    static RUNTIME: LazyLock<std::io::Result<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().thread_name("kodiak-query").enable_time().build());
    RUNTIME.as_ref().map_err(|error| Error::new(codes::INTERNAL, format!("no threads for queries: {error}")))
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(codes::INTERNAL, format!("no thread for a nested statement: {error}"))
}

async fn drive(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    sender: Sender<Result<RecordBatch>>,
    token: Token,
) {
    let work = async {
        let mut stream = execute_stream(plan, task)?;
        while let Some(batch) = stream.next().await {
            if sender.send(Ok(batch?)).await.is_err() {
                break;
            }
        }
        Ok::<(), DataFusionError>(())
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    let error = tokio::select! {
        outcome = work => match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => fault::fold(&error),
            Err(payload) => fault::panicked(payload.as_ref()),
        },
        error = token.ended() => error,
    };
    // Nobody is left to tell when the reader has gone.
    let _ = sender.send(Err(error)).await;
}

impl Batches {
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // Not counted against the task that may stand around this: a budget that is used up would wait for ever.
        let item = block_on(unconstrained(self.receiver.as_mut()?.recv()));
        if !matches!(item, Some(Ok(_))) {
            self.receiver = None;
        }
        item
    }
}
