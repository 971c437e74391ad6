//! Reading and checking on one thread while another one uses what was read: at a start with a million nodes, that
//! is what two processors can share.

use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

/// How many batches may wait to be used.
const BATCHES_AHEAD: usize = 8;

/// What a batch should hold. Large enough that handing it over costs nothing, small enough to stay in the cache.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// Runs `produce` on a thread of its own and `consume` on this one, in the order of production. Ends when both are
/// done, with what `produce` gave; an error if there can be no thread, and then neither has run.
///
/// `consume` takes every batch, even when it has no use for it any more: so what `produce` does to the disk depends
/// on the disk alone, never on how fast this thread is.
pub(crate) fn read_ahead<T: Send, R: Send>(
    produce: impl FnOnce(&mut dyn FnMut(T)) -> R + Send,
    mut consume: impl FnMut(T),
) -> io::Result<R> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let builder = thread::Builder::new().name("read-ahead".to_owned());
        let producer = builder.spawn_scoped(scope, move || {
            produce(&mut |batch| {
                // Fails only when this function is unwinding, and then nobody looks at the result.
                let _ = sender.send(batch);
            })
        })?;
        receiver.into_iter().for_each(&mut consume);
        Ok(producer.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_used_in_the_order_in_which_they_were_read() {
        let mut used = Vec::new();
        let produce = |send: &mut dyn FnMut(u32)| {
            (0..1_000).for_each(send);
            "done"
        };
        assert_eq!(read_ahead(produce, |batch| used.push(batch)).unwrap(), "done");
        assert_eq!(used, Vec::from_iter(0..1_000));
    }

    #[test]
    fn a_panic_on_either_side_ends_both() {
        let produced =
            std::panic::catch_unwind(|| read_ahead(|_: &mut dyn FnMut(u32)| panic!("here"), |_| ()));
        assert!(produced.is_err());
        let endless_enough = |send: &mut dyn FnMut(u32)| (0..1_000).for_each(send);
        let consumed = std::panic::catch_unwind(|| read_ahead(endless_enough, |_| panic!("there")));
        assert!(consumed.is_err());
    }
}
