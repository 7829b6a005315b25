//! A property test: whatever happens to the object, KV ends with the last accepted value.

use proptest::prelude::*;

use super::*;

const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

fn accept(writer: &mut KeyState) -> u64 {
    writer.accept("hash".to_owned(), &Preconditions::default()).unwrap()
}

/// An event, which happens this many milliseconds after the previous one.
#[derive(Debug, Clone)]
enum ScheduledEvent {
    Write,
    /// The alarm runs. The put takes this long, with this many writes meanwhile, and KV
    /// accepts it or not.
    Alarm {
        put_ms: u64,
        writes: u8,
        is_accepted: bool,
    },
    /// The object crashes after KV accepted its put and before it recorded that.
    CrashAtPut,
    /// The object is evicted, and wakes up.
    Evicted,
    /// The clock is set back by this many milliseconds.
    ClockSetBack(u64),
}

fn events() -> impl Strategy<Value = Vec<(u64, ScheduledEvent)>> {
    let alarm = (0_u64..3000, 0_u8..3, any::<bool>()).prop_map(|(put_ms, writes, is_accepted)| ScheduledEvent::Alarm {
        put_ms,
        writes,
        is_accepted,
    });
    let event = prop_oneof![
        Just(ScheduledEvent::Write),
        alarm,
        Just(ScheduledEvent::CrashAtPut),
        Just(ScheduledEvent::Evicted),
        (0_u64..7_200_000).prop_map(ScheduledEvent::ClockSetBack)
    ];
    proptest::collection::vec((0_u64..3000, event), 0..60)
}

/// Returns the state after waking up: what the object had stored.
fn woken(writer: &KeyState, now_ms: u64) -> KeyState {
    let mut woken: KeyState = serde_json::from_str(&serde_json::to_string(writer).unwrap()).unwrap();
    woken.wake_up(now_ms);
    woken
}

proptest! {
    #[test]
    fn whatever_happens_kv_ends_with_the_last_accepted_value_and_never_goes_back(events in events()) {
        let mut writer = KeyState::new("hot");
        let mut budget = Budget::new();
        let (mut now_ms, mut in_kv, mut last_put_ms) = (1_000_000_000_u64, 0_u64, None::<u64>);
        let mut accepted = 0;
        // After the events nothing fails, and the alarm runs until nothing is due.
        let quiet = (400_000, ScheduledEvent::Alarm { put_ms: 5, writes: 0, is_accepted: true });
        for (later_ms, event) in events.into_iter().chain(std::iter::repeat_n(quiet, 2)) {
            now_ms += later_ms;
            let (put_ms, writes, is_accepted, crashes) = match event {
                ScheduledEvent::Write => {
                    accepted = accept(&mut writer);
                    continue;
                }
                ScheduledEvent::Evicted => {
                    writer = woken(&writer, now_ms);
                    continue;
                }
                ScheduledEvent::ClockSetBack(by_ms) => {
                    now_ms -= by_ms;
                    // This clock cannot measure the distance to the last put.
                    last_put_ms = None;
                    continue;
                }
                ScheduledEvent::Alarm { put_ms, writes, is_accepted } => (put_ms, writes, is_accepted, false),
                ScheduledEvent::CrashAtPut => (0, 0, true, true),
            };
            let Due::Put(version) = writer.due(now_ms) else { continue };
            prop_assert!(last_put_ms.is_none_or(|last_ms| now_ms - last_ms >= WRITE_INTERVAL_MS));
            now_ms += put_ms;
            last_put_ms = Some(now_ms);
            for _ in 0..writes {
                accepted = accept(&mut writer);
            }
            if is_accepted {
                prop_assert!(version >= in_kv, "an earlier value replaced {in_kv}");
                in_kv = version;
            }
            if crashes {
                writer = woken(&writer, now_ms);
            } else if is_accepted {
                writer.put_succeeded(version, now_ms);
            } else {
                writer.put_failed(version, DOWN, now_ms, 0.3, &mut budget);
            }
            // A `wait=kv` responds 200 only if KV has the value.
            prop_assert!((1..=accepted).all(|version| !writer.has_flushed(version) || in_kv >= version));
        }
        prop_assert_eq!(in_kv, accepted);
        prop_assert_eq!(writer.due(now_ms), Due::Nothing);
    }
}
