use super::*;

fn failure() -> StoreError {
    StoreError::Timeout(Duration::ZERO)
}

fn ready(database: DatabaseKind) -> DatabaseHealth {
    let health = DatabaseHealth::new(database);
    health.set_ready();
    health
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_is_away_soon_and_a_silent_one_later() {
    let health = ready(DatabaseKind::Telemetry);
    let start = Instant::now();
    health.failed(&failure());
    assert!(health.is_usable(), "once is not enough");
    health.waited_long_enough(start).await;
    assert_eq!((start.elapsed(), health.is_usable()), (FAILING, false));
    health.answered();
    assert!(health.is_usable());

    let start = Instant::now();
    health.waited_long_enough(start).await;
    assert_eq!((start.elapsed(), health.is_usable()), (SILENT, false));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_anew_on_a_database_that_failed_before() {
    let health = ready(DatabaseKind::State);
    health.failed(&failure());
    tokio::time::sleep(2 * FAILING).await;
    let start = Instant::now();
    let failing = async {
        tokio::time::sleep(FAILING / 2).await;
        health.failed(&failure());
    };
    tokio::join!(health.waited_long_enough(start), failing);
    assert_eq!(start.elapsed(), FAILING);
}

#[tokio::test(start_paused = true)]
async fn a_slow_database_is_waited_for_longer_and_longer() {
    let health = ready(DatabaseKind::Telemetry);
    let mut waited = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        health.waited_long_enough(start).await;
        waited.push(start.elapsed().as_secs());
    }
    assert_eq!(waited, [5, 10, 20]);
    health.answered();
    let start = Instant::now();
    health.waited_long_enough(start).await;
    assert_eq!(start.elapsed().as_secs(), 40, "an answer alone is no batch");
    health.completed();
    let start = Instant::now();
    health.waited_long_enough(start).await;
    assert_eq!(start.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_answers_is_not_silent() {
    for answer in [DatabaseHealth::answered, DatabaseHealth::is_slow] {
        let health = ready(DatabaseKind::Telemetry);
        let start = Instant::now();
        let answering = async {
            for _ in 0..4 {
                tokio::time::sleep(SILENT - Duration::from_secs(1)).await;
                answer(&health);
            }
        };
        tokio::join!(health.waited_long_enough(start), answering);
        assert_eq!(start.elapsed(), 4 * (SILENT - Duration::from_secs(1)) + SILENT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_without_its_schema_is_waited_for() {
    let health = DatabaseHealth::new(DatabaseKind::State);
    let coming = async {
        tokio::time::sleep(FAILING).await;
        health.set_ready();
    };
    let start = Instant::now();
    tokio::join!(health.usable(), coming);
    assert_eq!(start.elapsed(), FAILING);
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_waiting_shortens_the_wait() {
    let health = ready(DatabaseKind::State);
    let start = Instant::now();
    let waiting = health.waited_long_enough(start);
    let failing = async {
        tokio::time::sleep(FAILING).await;
        health.failed(&failure());
    };
    tokio::join!(waiting, failing);
    assert_eq!(start.elapsed(), 2 * FAILING, "from the failure on");
}
