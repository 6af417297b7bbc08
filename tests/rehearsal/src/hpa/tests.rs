//! Tests the algorithm with the examples of the Kubernetes documentation ("Horizontal Pod Autoscaling",
//! "Algorithm details" and "Configurable scaling behavior") and with cases from the controller's source.

use std::time::Duration;

use super::{Controller, Limit, Metric, Pod, Policy, Reading, Rules, Scaling, Select};

const SYNC: u64 = 15;

fn policy(limit: Limit, seconds: u64) -> Policy {
    Policy { limit, period: Duration::from_secs(seconds) }
}

fn scaling(window: u64, policies: &[Policy]) -> Scaling {
    Scaling {
        window: Duration::from_secs(window),
        select: Select::Max,
        policies: policies.to_vec(),
        tolerance: 0.1,
    }
}

/// Rules that allow any change at once.
fn free(metrics: Vec<Metric>) -> Rules {
    let anything = [policy(Limit::Percent(100_000), SYNC)];
    let nothing = [policy(Limit::Percent(100), SYNC)];
    Rules {
        min_replicas: 1,
        max_replicas: 1_000,
        metrics,
        up: scaling(0, &anything),
        down: scaling(0, &nothing),
    }
}

/// The consumer's behavior in deploy/k8s, with one External metric and a target of 100.
fn production() -> Rules {
    Rules {
        min_replicas: 3,
        max_replicas: 12,
        up: scaling(0, &[policy(Limit::Percent(100), 15), policy(Limit::Pods(4), 15)]),
        down: scaling(300, &[policy(Limit::Percent(25), 60)]),
        ..free(vec![external(100.0)])
    }
}

fn external(average: f64) -> Metric {
    Metric::External { name: "fleet_queue_backlog_bytes".to_owned(), average }
}

fn total(total: f64) -> Reading {
    Reading::External(Some(total))
}

fn settled(used_milli: u32) -> Pod {
    Pod { used_milli: Some(used_milli), settled: true }
}

const STARTING: Pod = Pod { used_milli: Some(900), settled: false };
const MISSING: Pod = Pod { used_milli: None, settled: true };

/// One sync of a new controller.
fn once(rules: Rules, current: u32, readings: &[Reading]) -> u32 {
    Controller::new(rules).decide(Duration::ZERO, current, readings).desired
}

/// One sync with CPU only. The request is 1000m and the target 50 %.
fn on_cpu(pods: &[Pod]) -> u32 {
    let current = u32::try_from(pods.len()).unwrap();
    let reading = Reading::Cpu { pods: pods.to_vec(), request_milli: 1_000 };
    once(free(vec![Metric::Cpu { percent: 50 }]), current, &[reading])
}

/// One sync for each total, a sync period apart, from `start` on. Each decision is carried out before the
/// next sync.
fn passes(controller: &mut Controller, start: u64, mut current: u32, totals: &[f64]) -> Vec<u32> {
    let seconds = (0..).map(|pass| start + pass * SYNC);
    let steps = totals.iter().zip(seconds).map(|(value, second)| {
        current = controller.decide(Duration::from_secs(second), current, &[total(*value)]).desired;
        current
    });
    steps.collect()
}

#[test]
fn replicas_follow_the_ratio_of_value_to_target() {
    // From the documentation: a value of 200m with a target of 100m doubles the replicas, 50m halves them.
    assert_eq!(on_cpu(&[settled(1_000), settled(1_000)]), 4);
    assert_eq!(on_cpu(&[settled(250), settled(250)]), 1);
    // External: the sum of all series divided by the target of one replica, rounded up.
    assert_eq!(once(free(vec![external(100.0)]), 3, &[total(601.0)]), 7);
    assert_eq!(once(free(vec![external(100.0)]), 5, &[total(101.0)]), 2);
}

#[test]
fn a_tenth_either_way_changes_nothing() {
    let at = |value| once(free(vec![external(100.0)]), 10, &[total(value)]);
    assert_eq!([at(1_100.0), at(900.0)], [10, 10]);
    assert_eq!([at(1_100.1), at(899.9)], [12, 9]);
    // CPU is compared in whole percent: 55.9 % of the request counts as 55 %, which is a tenth above 50 %.
    assert_eq!(on_cpu(&[settled(559); 10]), 10);
    assert_eq!(on_cpu(&[settled(560); 10]), 12);
}

#[test]
fn each_direction_may_have_a_tolerance_of_its_own() {
    let mut rules = free(vec![external(100.0)]);
    rules.up.tolerance = 0.0;
    rules.down.tolerance = 0.5;
    assert_eq!(once(rules.clone(), 10, &[total(1_001.0)]), 11);
    assert_eq!(once(rules, 10, &[total(501.0)]), 10);
}

#[test]
fn the_highest_proposal_wins() {
    let rules = free(vec![external(100.0), external(10.0)]);
    assert_eq!(once(rules, 3, &[total(500.0), total(80.0)]), 8);
}

#[test]
fn without_one_metric_the_others_may_only_add() {
    let rules = free(vec![external(100.0), external(10.0)]);
    let gone = Reading::External(None);
    assert_eq!(once(rules.clone(), 5, &[gone.clone(), total(20.0)]), 5);
    assert_eq!(once(rules.clone(), 5, &[gone.clone(), total(70.0)]), 7);
    assert_eq!(once(rules, 5, &[gone.clone(), gone]), 5);
}

#[test]
fn a_pass_without_a_metric_recommends_nothing() {
    let mut rules = production();
    rules.metrics.push(external(1_000.0));
    let mut controller = Controller::new(rules);
    let busy = [total(1_200.0), total(0.0)];
    assert_eq!(controller.decide(Duration::ZERO, 12, &busy).desired, 12);
    for second in (15..600).step_by(15) {
        let readings = [Reading::External(None), total(0.0)];
        assert_eq!(controller.decide(Duration::from_secs(second), 12, &readings).desired, 12);
    }
    // The outage has no effect afterwards: the window has passed, and one step is allowed.
    assert_eq!(controller.decide(Duration::from_secs(600), 12, &[total(0.0), total(0.0)]).desired, 9);
}

#[test]
fn replicas_that_start_count_as_idle_for_more_and_not_at_all_for_fewer() {
    // 90 % on average. The starting replica counts as idle: 2 × 90 / 3 = 60 %, and 60 / 50 × 3 = 3.6.
    assert_eq!(on_cpu(&[settled(900), settled(900), STARTING]), 4);
    // 20 %: only the two settled ones count, 20 / 50 × 2 = 0.8.
    assert_eq!(on_cpu(&[settled(200), settled(200), STARTING]), 1);
    // 60 % alone would propose 3 for 2. With the idle ones it is below the target, so nothing changes.
    assert_eq!(on_cpu(&[settled(600), settled(600), STARTING, STARTING]), 4);
}

#[test]
fn replicas_without_a_sample_damp_either_direction() {
    // The missing one counts as fully used: (100 + 200 + 200 + 1000) / 4 = 37 %, and 37 / 50 × 4 = 2.96.
    assert_eq!(on_cpu(&[settled(100), settled(200), settled(200), MISSING]), 3);
    // The missing one counts as idle: (900 + 900 + 0) / 3 = 60 %, as above.
    assert_eq!(on_cpu(&[settled(900), settled(900), MISSING]), 4);
    // Fully used, the missing one lifts the average above the target, so nothing changes.
    assert_eq!(on_cpu(&[settled(400), MISSING]), 2);
    // Without any sample the metric is unavailable.
    assert_eq!(on_cpu(&[MISSING, STARTING]), 2);
}

#[test]
fn upwards_the_larger_of_doubling_and_four_pods_counts() {
    let ups =
        |current| once(Rules { min_replicas: 1, max_replicas: 100, ..production() }, current, &[total(1e6)]);
    assert_eq!([1, 2, 3, 4, 5, 9].map(ups), [5, 6, 7, 8, 10, 18]);
}

#[test]
fn a_bomb_takes_two_passes_from_three_to_twelve() {
    let mut controller = Controller::new(production());
    assert_eq!(passes(&mut controller, 0, 3, &[1e6; 3]), [7, 12, 12]);
}

#[test]
fn what_was_added_within_the_period_is_used_up() {
    let rules = Rules { max_replicas: 100, ..production() };
    let mut controller = Controller::new(rules);
    let at = |seconds| Duration::from_secs(seconds);
    assert_eq!(controller.decide(at(0), 3, &[total(1e6)]).desired, 7);
    assert_eq!(controller.decide(at(5), 7, &[total(1e6)]).desired, 7);
    assert_eq!(controller.decide(at(15), 7, &[total(1e6)]).desired, 14);
}

#[test]
fn downwards_a_step_a_period_once_the_window_has_passed() {
    let mut controller = Controller::new(production());
    let mut totals = vec![1_200.0];
    totals.resize(40, 0.0);
    let replicas = passes(&mut controller, 0, 12, &totals);
    // After 300 s, each step keeps three quarters of what was there a minute ago: 12 × 3/4 = 9, 6.75, 4.5,
    // then the minimum.
    assert_eq!(replicas[..20], [12; 20]);
    assert_eq!(replicas[20..24], [9; 4]);
    assert_eq!(replicas[24..28], [6; 4]);
    assert_eq!(replicas[28..32], [4; 4]);
    assert_eq!(replicas[32..], [3; 8]);
}

#[test]
fn one_high_recommendation_holds_the_replicas_for_the_window() {
    let mut controller = Controller::new(production());
    let mut totals = vec![1_200.0; 10];
    totals.extend([0.0; 19]);
    totals.push(900.0);
    totals.extend([0.0; 20]);
    let replicas = passes(&mut controller, 0, 12, &totals);
    // The 900 of sync 29 asks for nine replicas and holds nine until sync 49.
    assert_eq!(replicas[27..29], [12; 2]);
    assert_eq!(replicas[29..49], [9; 20]);
    assert!(replicas[49] < 9);
}

#[test]
fn upwards_the_lowest_recommendation_of_the_window_counts() {
    let mut rules = production();
    rules.up.window = Duration::from_secs(40);
    let mut controller = Controller::new(rules);
    assert_eq!(passes(&mut controller, 0, 3, &[300.0, 900.0, 900.0, 900.0, 900.0]), [3, 3, 3, 7, 9]);
}

#[test]
fn ten_percent_of_seventy_two_are_eight() {
    // From the documentation: 80 to 10 with Pods 4 and Percent 10 a minute. First by 8, then by 7.2 rounded
    // up; below 40 by 4.
    let rules = Rules {
        min_replicas: 1,
        max_replicas: 100,
        down: scaling(0, &[policy(Limit::Pods(4), 60), policy(Limit::Percent(10), 60)]),
        ..production()
    };
    let step = |current| once(rules.clone(), current, &[total(1_000.0)]);
    assert_eq!([step(80), step(72), step(41), step(40), step(12)], [72, 64, 36, 36, 10]);
}

#[test]
fn the_smaller_policy_or_none_can_be_chosen() {
    let mut rules = Rules { max_replicas: 100, ..production() };
    rules.up.select = Select::Min;
    assert_eq!(once(rules.clone(), 20, &[total(1e6)]), 24);
    rules.up.select = Select::Disabled;
    assert_eq!(once(rules.clone(), 20, &[total(1e6)]), 20);
    rules.down = Scaling { select: Select::Disabled, ..scaling(0, &[policy(Limit::Percent(100), 60)]) };
    assert_eq!(once(rules, 20, &[total(0.0)]), 20);
}

#[test]
fn outside_the_bounds_metrics_do_not_count() {
    assert_eq!(once(production(), 15, &[Reading::External(None)]), 12);
    assert_eq!(once(production(), 1, &[total(1e6)]), 3);
    assert_eq!(once(production(), 3, &[total(0.0)]), 3);
}

#[test]
fn compression_divides_every_time_and_nothing_else() {
    let rules = production().compressed(5.0);
    assert_eq!(rules.down.window, Duration::from_secs(60));
    assert_eq!(rules.down.policies, [policy(Limit::Percent(25), 12)]);
    assert_eq!(rules.up.policies[1], policy(Limit::Pods(4), 3));
    assert_eq!((rules.min_replicas, rules.max_replicas), (3, 12));
}
