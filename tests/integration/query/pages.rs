//! Paging while vehicles change.

use std::collections::HashMap;

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fleet::{id, ids, insert, random_fleet, set, update, vehicle_at};
use super::rig::Rig;

/// All pages of a query, with something done after each.
async fn pages(rig: &Rig, query: &str, mut between: impl AsyncFnMut()) -> Vec<Uuid> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let body = rig.service.json(&format!("/v1/vehicles?{query}{after}")).await;
        let page = ids(&body);
        assert!(page.len() <= 7 && (!page.is_empty() || body["after"].is_null()), "{body}");
        found.extend(page);
        let Some(next) = body["after"].as_str() else { return found };
        after = format!("&after={next}");
        between().await;
    }
}

#[tokio::test]
async fn the_pages_together_are_the_list() {
    let mut rng = Rng::with_seed(5);
    let fleet = random_fleet(100, &mut rng);
    let rig = Rig::start(&fleet).await;
    let everywhere = ids(&rig.service.json("/v1/vehicles?limit=1000").await);
    assert_eq!(everywhere.len(), 100);
    for query in ["", "bbox=-180,-90,180,90&", "online=true&", "near=52.5,13.4&radius_m=20000000&"] {
        let whole = ids(&rig.service.json(&format!("/v1/vehicles?{query}limit=1000")).await);
        assert!(whole.len() > 20, "{query}");
        assert_eq!(pages(&rig, &format!("{query}limit=7"), async || {}).await, whole, "{query}");
    }
    let exactly = rig.service.json("/v1/vehicles?limit=100").await;
    assert!(exactly["after"].is_null(), "nothing follows the last vehicle");
}

#[tokio::test]
async fn a_vehicle_that_stays_is_in_exactly_one_page_while_others_come_move_and_go() {
    let mut rng = Rng::with_seed(6);
    let staying: Vec<_> =
        (0..60).map(|n| vehicle_at(&format!("stay{n}"), 10.0 + f64::from(n) / 100.0, 20.0)).collect();
    let mut moving: Vec<_> = (0..60).map(|n| vehicle_at(&format!("move{n}"), 10.0, 20.0)).collect();
    let rig = Rig::start(&[staying.clone(), moving.clone()].concat()).await;
    for query in ["bbox=19,9,21,12&limit=7", "near=10,20&radius_m=200000&limit=7", "seen_within=1d&limit=7"] {
        let found = pages(&rig, query, async || {
            churn(&rig, &mut moving, &mut rng).await;
        })
        .await;
        let mut count: HashMap<Uuid, usize> = HashMap::new();
        found.iter().for_each(|id| *count.entry(*id).or_default() += 1);
        for vehicle in &staying {
            assert_eq!(count.get(&id(vehicle)), Some(&1), "{query}: {vehicle}");
        }
    }
}

/// Moves, adds and deletes some vehicles.
async fn churn(rig: &Rig, moving: &mut Vec<Value>, rng: &mut Rng) {
    for _ in 0..5 {
        let index = rng.usize(0..moving.len());
        set(&mut moving[index], "lat", json!(9.5 + rng.f64() * 3.0));
        update(&rig.client, &moving[index]).await;
    }
    let new = vehicle_at(&format!("new{}", rng.u64(..)), 10.5, 20.0);
    insert(&rig.client, std::slice::from_ref(&new)).await;
    moving.push(new);
    let gone = moving.swap_remove(rng.usize(0..moving.len()));
    rig.client.execute("DELETE FROM vehicles WHERE vehicle_id = $1", &[&id(&gone)]).await.unwrap();
    rig.service.fresh().await;
}
