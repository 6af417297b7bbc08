//! Reads of the changes while a transaction stays open.

use fleet_store::{Database, DatabaseOptions, Lookout};
use fleet_testbed::DatabaseLogin;
use uuid::Uuid;

use super::fleet::{insert, vehicle_at};
use crate::support::TestDatabase;

/// The oldest open transaction decides from where each read goes on, which is the same place again and again.
#[tokio::test]
async fn what_has_been_read_is_not_read_again_while_a_transaction_is_open() {
    let database = TestDatabase::migrated().await;
    let (open, client) = (database.client().await, database.client().await);
    let fleet: Vec<_> = (0..100).map(|n| vehicle_at(&format!("n{n}"), 1.0, 2.0)).collect();
    insert(&client, &fleet).await;
    let url = database.url_as(DatabaseLogin::Reader);
    let lookout = Lookout::new(Database::open(&DatabaseOptions::new(&url)).unwrap());
    let late = "UPDATE vehicles SET lat = 7 WHERE provider_vehicle_id = 'n0'";
    open.batch_execute(&format!("BEGIN; {late}")).await.unwrap();
    let mut horizon = lookout.page(Uuid::nil()).await.unwrap().horizon;
    let all = "UPDATE vehicles SET lat = lat + 1 WHERE provider_vehicle_id <> 'n0'";
    let one = "UPDATE vehicles SET lat = 5 WHERE provider_vehicle_id = 'n1'";
    // A subtransaction has a number of its own.
    let part =
        "BEGIN; SAVEPOINT s; UPDATE vehicles SET lat = 6 WHERE provider_vehicle_id = 'n2'; RELEASE s; COMMIT";
    for (statement, wanted) in [(all, 99), ("", 0), (one, 1), (part, 1), ("", 0)] {
        client.batch_execute(statement).await.unwrap();
        let look = lookout.changed(&horizon).await.unwrap().expect("the same server");
        assert_eq!((look.len(), look.found().count()), (wanted, wanted), "{statement}");
        horizon = look.horizon;
    }
    open.batch_execute("COMMIT").await.unwrap();
    let look = lookout.changed(&horizon).await.unwrap().unwrap();
    let found: Vec<_> = look.found().map(|found| found.vehicle.provider_vehicle_id).collect();
    assert_eq!(found, ["n0"], "what the open transaction has written");
}
