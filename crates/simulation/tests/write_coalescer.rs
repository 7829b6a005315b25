//! Tests of `WriteCoalescer` in virtual time: which of several concurrent writes are sent.

use std::cell::RefCell;
use std::pin::{Pin, pin};

use futures_util::future::select;

use kv_store::retry::Time;
use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};
use simulation::virtual_time::{VirtualTime, block_on, join_all};

/// Puts values at the given milliseconds; each send takes 100 ms. Returns the values that were
/// sent, and the outcome of each put.
fn run(writes: &[(u64, u32)]) -> (Vec<u32>, Vec<Option<CoalescedPut<u32>>>) {
    let time = VirtualTime::new(0);
    let coalescer = WriteCoalescer::new();
    let sent = RefCell::new(Vec::new());
    let record = async |value| {
        sent.borrow_mut().push(value);
        time.sleep(100).await;
        value
    };
    let puts = writes.iter().map(async |(at_ms, value)| {
        time.sleep(*at_ms).await;
        coalescer.put(*value, record).await
    });
    let outcomes = block_on(&time, join_all(puts));
    (sent.into_inner(), outcomes)
}

#[test]
fn only_the_last_of_simultaneous_writes_is_sent() {
    let (sent, outcomes) = run(&[(0, 1), (0, 2), (0, 3)]);
    assert_eq!(sent, [3]);
    assert_eq!(
        outcomes,
        [Some(CoalescedPut::Superseded(3)), Some(CoalescedPut::Superseded(3)), Some(CoalescedPut::Sent(3))]
    );
}

#[test]
fn only_the_last_of_the_writes_during_a_send_is_sent_after_it() {
    let (sent, outcomes) = run(&[(1, 10), (20, 20), (50, 30), (400, 40)]);
    assert_eq!(sent, [10, 30, 40]);
    assert_eq!(
        outcomes,
        [
            Some(CoalescedPut::Sent(10)),
            Some(CoalescedPut::Superseded(30)),
            Some(CoalescedPut::Sent(30)),
            Some(CoalescedPut::Sent(40))
        ]
    );
}

#[test]
fn a_dropped_sender_ends_the_writes_that_wait_for_it() {
    let time = VirtualTime::new(0);
    let coalescer = WriteCoalescer::<u32, ()>::new();
    let slow = async |_| time.sleep(1000).await;
    let dropped = async {
        let first = pin!(coalescer.put(1, slow));
        let _pending = select(first, pin!(time.sleep(10))).await;
        None
    };
    let second = async {
        time.sleep(5).await;
        coalescer.put(2, slow).await
    };
    let third = async {
        time.sleep(50).await;
        coalescer.put(3, slow).await
    };
    let callers: [Pin<Box<dyn Future<Output = _>>>; 3] = [Box::pin(dropped), Box::pin(second), Box::pin(third)];
    let outcomes = block_on(&time, join_all(callers));
    assert_eq!(outcomes, [None, None, Some(CoalescedPut::Sent(()))]);
}
