//! Which of several writes of one request is made, in virtual time.

use std::cell::RefCell;
use std::pin::{Pin, pin};

use futures_util::future::select;

use kv_store::retry::Time;
use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};
use simulation::virtual_time::{VirtualTime, block_on, join_all};

/// Writes values at given times, each write taking 100 ms; what was sent, and what each caller was told.
fn run(writes: &[(u64, u32)]) -> (Vec<u32>, Vec<Option<CoalescedPut<u32>>>) {
    let time = VirtualTime::new(0);
    let one = WriteCoalescer::new();
    let values = RefCell::new(Vec::new());
    let send = async |value| {
        values.borrow_mut().push(value);
        time.sleep(100).await;
        value
    };
    let callers = writes.iter().map(async |(at_ms, value)| {
        // The clock moves only when everybody sleeps.
        time.sleep(*at_ms).await;
        one.put(*value, send).await
    });
    let told = block_on(&time, join_all(callers));
    (values.into_inner(), told)
}

#[test]
fn writes_before_the_first_is_sent_become_the_last() {
    let (sent, told) = run(&[(0, 1), (0, 2), (0, 3)]);
    assert_eq!(sent, [3]);
    assert_eq!(
        told,
        [Some(CoalescedPut::Superseded(3)), Some(CoalescedPut::Superseded(3)), Some(CoalescedPut::Sent(3))]
    );
}

#[test]
fn writes_while_one_is_under_way_become_one_more() {
    let (sent, told) = run(&[(1, 10), (20, 20), (50, 30), (400, 40)]);
    assert_eq!(sent, [10, 30, 40]);
    assert_eq!(
        told,
        [
            Some(CoalescedPut::Sent(10)),
            Some(CoalescedPut::Superseded(30)),
            Some(CoalescedPut::Sent(30)),
            Some(CoalescedPut::Sent(40))
        ]
    );
}

#[test]
fn a_sender_that_is_dropped_leaves_nobody_waiting() {
    let time = VirtualTime::new(0);
    let one = WriteCoalescer::<u32, ()>::new();
    let slow = async |_| time.sleep(1000).await;
    let given_up = async {
        let first = pin!(one.put(1, slow));
        let _not_yet = select(first, pin!(time.sleep(10))).await;
        None
    };
    let second = async {
        time.sleep(5).await;
        one.put(2, slow).await
    };
    let third = async {
        time.sleep(50).await;
        one.put(3, slow).await
    };
    let callers: [Pin<Box<dyn Future<Output = _>>>; 3] = [Box::pin(given_up), Box::pin(second), Box::pin(third)];
    let told = block_on(&time, join_all(callers));
    assert_eq!(told, [None, None, Some(CoalescedPut::Sent(()))]);
}
