//! How users spread over the buckets of flags, and which percentages are valid.

use super::*;

const USERS: u32 = 100_000;

/// Ids of the usual kinds: numbers, names, hexadecimal numbers, and ids whose changing part is at
/// the front (UUIDs, mail addresses).
fn ids(kind: &str) -> impl Iterator<Item = String> {
    (0..USERS).map(move |user| match kind {
        "counted" => user.to_string(),
        "named" => format!("user-{user}"),
        "hex" => format!("{:016x}", u64::from(user).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        "uuid" => format!("{user:08x}-0000-4000-8000-000000000000"),
        _ => format!("{user}@example.com"),
    })
}

#[test]
fn a_hundred_thousand_ids_are_spread_within_one_percentage_point() {
    for kind in ["counted", "named", "hex", "uuid", "mail"] {
        let mut tenths = [0_u32; 10];
        let mut below = [(1.0, 0_u32), (5.0, 0), (25.0, 0), (33.333, 0), (50.0, 0), (99.0, 0)];
        for id in ids(kind) {
            let bucket = Bucket::of("new-checkout", &id);
            assert!(bucket < Bucket::ALL);
            tenths[(bucket.0 / (COUNT / 10)) as usize] += 1;
            for (percentage, count) in &mut below {
                *count += u32::from(bucket < Bucket::threshold(*percentage).unwrap());
            }
        }
        for tenth in tenths {
            assert!((9000..=11_000).contains(&tenth), "{kind}: {tenths:?}");
        }
        for (percentage, count) in below {
            let off = f64::from(count) / f64::from(USERS) * 100.0 - percentage;
            assert!(off.abs() < 1.0, "{kind}: {percentage} % is off by {off}");
        }
    }
}

#[test]
fn flags_are_independent() {
    for (one, other, kind) in [
        ("new-checkout", "dark-mode", "named"),
        ("flag-1", "flag-2", "counted"),
        ("a", "b", "counted"),
        ("a", "b", "uuid"),
        ("a", "aa", "named"),
        ("flag", "flag2", "uuid"),
        ("xflag", "flag", "mail"),
    ] {
        // Counts how many users of each tenth of one flag are in each tenth of the other.
        // Independent flags have a thousand in each cell.
        let mut cells = [[0_u32; 10]; 10];
        for id in ids(kind) {
            let tenth = |flag| (Bucket::of(flag, &id).0 / (COUNT / 10)) as usize;
            cells[tenth(one)][tenth(other)] += 1;
        }
        let squares = cells.iter().flatten().map(|count| (f64::from(*count) - 1000.0).powi(2) / 1000.0);
        let chi_square: f64 = squares.sum();
        // There are 99 degrees of freedom: the mean is 99, and one of ten million tables
        // exceeds 190.
        assert!(chi_square < 190.0, "{one} and {other}, {kind}: {chi_square}");
    }
}

#[test]
fn a_user_keeps_the_bucket_from_release_to_release() {
    let buckets = ["user-1", "user-2", "user-3", "é", ""].map(|user| Bucket::of("new-checkout", user).0);
    assert_eq!(buckets, [51_929, 23_104, 74_416, 3317, 95_064]);
}

#[test]
fn scaling_reaches_both_ends() {
    for (hash, bucket) in [(0, 0), (42_949, 0), (42_950, 1), (u32::MAX / 2 + 1, 50_000), (u32::MAX, 99_999)] {
        assert_eq!(Bucket::of_hash(hash), Bucket(bucket), "{hash}");
    }
}

#[test]
fn a_percentage_has_three_decimals_at_most() {
    for (percentage, threshold) in [
        (0.0, Some(0)),
        (0.001, Some(1)),
        (0.1, Some(100)),
        (33.333, Some(33_333)),
        (57.3, Some(57_300)),
        (99.999, Some(99_999)),
        (100.0, Some(100_000)),
        (100.001, None),
        (-0.001, None),
        (-1.0, None),
        (0.0005, None),
        (33.3333, None),
        (1e300, None),
        (1e-300, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(Bucket::threshold(percentage), threshold.map(Bucket), "{percentage}");
    }
    for thousandths in 0..=COUNT {
        assert_eq!(Bucket::threshold(f64::from(thousandths) / 1000.0), Some(Bucket(thousandths)));
    }
}
