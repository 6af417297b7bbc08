//! Creates the vehicles of a run, with ids that no other run uses.

use fastrand::Rng;

use crate::vehicle::{Provider, Role, Vehicle};

/// Creates `count` vehicles, a third for each provider, followed by one ghost for each provider. Every
/// `skewed_every`-th vehicle of a provider has a skewed clock (0 = none). All clocks start at `start_ms`,
/// epoch ms.
pub fn build(count: u32, skewed_every: u32, start_ms: i64, rng: &mut Rng) -> Vec<Vehicle> {
    let run = rng.u64(..);
    let ghosts = 3;
    let numbers = 0..count + ghosts;
    let vehicles = numbers.clone().zip(numbers.zip(Provider::ALL.into_iter().cycle()).enumerate());
    vehicles
        .map(|(number, (index, (_, provider)))| {
            let is_skewed = skewed_every > 0 && (number / 3) % skewed_every == skewed_every - 1;
            let role = match (number >= count, is_skewed) {
                (true, _) => Role::Ghost,
                (false, true) => Role::Skewed,
                (false, false) => Role::Ordinary,
            };
            Vehicle::new(index, provider, id(provider, run, u64::from(number)), role, start_ms, rng)
        })
        .collect()
}

/// An id in the provider's format. INVERS' five characters cannot hold both run and number, so a run first
/// checks that its ids are new.
fn id(provider: Provider, run: u64, number: u64) -> String {
    match provider {
        Provider::Niu => format!("NBSIM{}{}", base36(run, 7), base36(number, 4)),
        Provider::Segway => format!("86{:08}{number:05}", run % 100_000_000),
        Provider::Invers => base36((run % 36_u64.pow(5)) + number, 5),
    }
}

/// The last `digits` digits in base 36.
fn base36(mut value: u64, digits: usize) -> String {
    let mut text = vec!['0'; digits];
    for digit in text.iter_mut().rev() {
        *digit = u32::try_from(value % 36).ok().and_then(|d| char::from_digit(d, 36)).unwrap_or('0');
        value /= 36;
    }
    text.into_iter().collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_have_the_providers_shape_and_are_unique_within_and_across_runs() {
        let mut ids = HashSet::new();
        for seed in 0..5 {
            let fleet = build(3_000, 0, 0, &mut Rng::with_seed(seed));
            assert_eq!(fleet.len(), 3_003);
            for vehicle in fleet {
                let length = match vehicle.provider {
                    Provider::Niu => 16,
                    Provider::Segway => 15,
                    Provider::Invers => 5,
                };
                assert_eq!(vehicle.id.len(), length, "{}", vehicle.id);
                assert!(ids.insert(vehicle.id));
            }
        }
    }

    #[test]
    fn every_provider_gets_its_share_of_every_role() {
        let fleet = build(300, 10, 0, &mut Rng::with_seed(1));
        for provider in Provider::ALL {
            let count = |role| {
                fleet.iter().filter(|vehicle| vehicle.provider == provider && vehicle.role == role).count()
            };
            assert_eq!((count(Role::Ordinary), count(Role::Skewed), count(Role::Ghost)), (90, 10, 1));
        }
    }
}
