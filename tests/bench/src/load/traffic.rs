//! Creates the requests.

use jiff::Timestamp;

use super::plan::Traffic;
use crate::cities;
use crate::provider::{Provider, Status, niu_array};

/// The number of reports in one array of the bomb.
const ARRAY: u64 = 100;

/// The time between two reports of a vehicle in the bomb.
const BOMB_STEP_MS: i64 = 5_000;

/// The number of requests rendered beforehand.
const POOL: u32 = 4_096;

/// The requests of one thread.
#[derive(Debug)]
pub(super) enum Requests {
    /// The same requests again and again.
    Repeated { pool: Vec<Vec<u8>>, next: usize },
    /// New requests. Each thread takes every `step`-th one, so that they do not repeat each other.
    Fresh { providers: Vec<Provider>, vehicles: u32, sequence: u64, step: u64 },
    /// New reports of vehicles that move.
    Moving { vehicles: u32, cities: u32, sequence: u64, step: u64 },
    /// A backlog that begins at `start_ms`.
    Bomb { vehicles: u32, sequence: u64, report: u64, step: u64, start_ms: i64 },
}

impl Requests {
    pub(super) fn new(traffic: &Traffic, thread: usize, threads: usize) -> Self {
        let (thread, threads) = (thread as u64, threads as u64);
        let now_ms = Timestamp::now().as_millisecond();
        match traffic {
            Traffic::Repeated { provider, vehicles } => {
                let render = |index: u32| {
                    let status = Status { vehicle: index % vehicles, at_ms: now_ms + i64::from(index) };
                    provider.request(&provider.body(status))
                };
                Self::Repeated { pool: (0..POOL).map(render).collect(), next: 0 }
            }
            Traffic::Fresh { providers, vehicles } => Self::Fresh {
                providers: providers.clone(),
                vehicles: *vehicles,
                sequence: thread,
                step: threads,
            },
            Traffic::Moving { vehicles, cities } => {
                Self::Moving { vehicles: *vehicles, cities: *cities, sequence: thread, step: threads }
            }
            Traffic::Get { paths } => {
                Self::Repeated { pool: paths.iter().map(|path| get(path)).collect(), next: 0 }
            }
            Traffic::Bomb { vehicles } => {
                let start_ms = now_ms - 30 * 60 * 1000;
                Self::Bomb { vehicles: *vehicles, sequence: 0, report: thread, step: threads, start_ms }
            }
        }
    }

    /// The next request and the number of reports in it.
    pub(super) fn next(&mut self) -> (Vec<u8>, u64) {
        match self {
            Self::Repeated { pool, next } => {
                *next = (*next + 1) % pool.len();
                (pool[*next].clone(), 1)
            }
            Self::Fresh { providers, vehicles, sequence, step } => {
                let (turn, index) = (*sequence / providers.len() as u64, *sequence % providers.len() as u64);
                *sequence += *step;
                let provider = usize::try_from(index).map_or(Provider::Niu, |index| providers[index]);
                let status =
                    Status { vehicle: vehicle(turn, *vehicles), at_ms: Timestamp::now().as_millisecond() };
                (provider.request(&provider.body(status)), 1)
            }
            Self::Moving { vehicles, cities, sequence, step } => {
                let status = Status {
                    vehicle: vehicle(*sequence, *vehicles),
                    at_ms: Timestamp::now().as_millisecond(),
                };
                *sequence += *step;
                (Provider::Niu.request(&cities::body(status, *cities)), 1)
            }
            Self::Bomb { vehicles, sequence, report, step, start_ms } => {
                let mut status = || {
                    let step_ms =
                        i64::try_from(*report / u64::from(*vehicles)).unwrap_or_default() * BOMB_STEP_MS;
                    let status = Status { vehicle: vehicle(*report, *vehicles), at_ms: *start_ms + step_ms };
                    *report += *step;
                    status
                };
                *sequence += 1;
                if (*sequence).is_multiple_of(ARRAY + 1) {
                    let body = niu_array((0..ARRAY).map(|_| status()));
                    (Provider::Niu.request(&body), ARRAY)
                } else {
                    (Provider::Niu.request(&Provider::Niu.body(status())), 1)
                }
            }
        }
    }
}

/// A complete request without a body.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: fleet-bench\r\n\r\n").into_bytes()
}

fn vehicle(sequence: u64, vehicles: u32) -> u32 {
    u32::try_from(sequence % u64::from(vehicles)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_bomb_is_half_arrays_and_repeats_nothing_over_its_threads() {
        let mut seen = HashSet::new();
        let (mut singles, mut in_arrays) = (0, 0);
        for thread in 0..2 {
            let mut requests = Requests::new(&Traffic::Bomb { vehicles: 50 }, thread, 2);
            for _ in 0..202 {
                let (bytes, reports) = requests.next();
                if reports == 1 {
                    singles += 1;
                } else {
                    in_arrays += reports;
                }
                let text = String::from_utf8(bytes).unwrap();
                let body = text.split_once("\r\n\r\n").unwrap().1;
                let declared = format!("content-length: {}\r\n", body.len());
                assert!(text.contains(&declared), "{text}");
                let one: Vec<serde_json::Value> = serde_json::from_str(body)
                    .or_else(|_| serde_json::from_str(&format!("[{body}]")))
                    .unwrap();
                for status in one {
                    let key = (status["sn"].to_string(), status["infoTimestamp"].as_i64().unwrap());
                    assert!(seen.insert(key), "{status} comes twice");
                }
            }
        }
        assert_eq!(singles, in_arrays);
        assert_eq!(seen.len(), 800);
    }
}
