//! The commands to try while the demo keeps running.

use std::fmt::Write;
use std::path::Path;

use fleet_harness::{Program, log};
use fleet_testbed::{AmqpLogin, DatabaseLogin, INVERS_QUEUES, RedisLogin};
use jiff::Timestamp;
use md5::{Digest, Md5};

use crate::stage::{INVERS_TOKEN, NIU_TOKEN, SEGWAY_SECRET, Stage};

/// URLs, one request for each provider, and SQL, ready to paste into a shell.
pub(super) fn text(stage: &Stage<'_>, logs: &Path, programs: &[Program]) -> String {
    let webhooks = format!("http://127.0.0.1:{}/webhooks", stage.api_port);
    let map = format!("http://127.0.0.1:{}", stage.query_port);
    let now = Timestamp::now();
    let mut text = format!(
        "\nEverything keeps running until Ctrl-C.\n\n  map       {map}\n  webhooks  {webhooks}/{{niu,segway,invers}}\n  redis     {}\n",
        stage.services.redis_url(RedisLogin::Operator),
    );
    if let Some(broker) = stage.broker {
        let (consumer, publisher) = (broker.url(AmqpLogin::Consumer), broker.url(AmqpLogin::Admin));
        let (queues, ca) = (INVERS_QUEUES.join(", "), broker.certificate_file());
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  amqp      {consumer}  (to consume)\n            {publisher}  (to publish)\n            queues {queues}, CA {}",
            ca.display()
        );
    }
    for program in programs {
        let (name, port) = (program.name(), program.admin_port());
        let log = log::path(logs, name);
        let log = log.display();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  metrics   http://127.0.0.1:{port}/metrics  ({name}, log: {log})");
    }
    let _ = write!(
        text,
        "\nSend a report for a NIU moped, a Segway scooter (signed) and an INVERS car:\n\n  \
         {}\n  {}\n  {}\n",
        niu(&webhooks, now),
        segway(&webhooks, now),
        invers(&webhooks, now),
    );
    let psql = stage.services.psql_command(DatabaseLogin::Reader).join(" ");
    let _ = write!(
        text,
        "\nQuery the result:\n\n  {psql} -c 'SELECT * FROM vehicle_positions LIMIT 10'\n  {psql} -c \"SELECT * FROM \
         vehicles WHERE provider_vehicle_id IN ('DEMO-NIU-1', '860000000000017', 'DEMO1')\"\n  curl \
         '{map}/v1/vehicles?near=52.52,13.405&radius_m=5000'\n\n",
    );
    text
}

fn niu(webhooks: &str, now: Timestamp) -> String {
    let ms = now.as_millisecond();
    format!(
        "curl -i {webhooks}/niu -H 'token: {NIU_TOKEN}' -H 'content-type: application/json' -d \
         '[{{\"sn\":\"DEMO-NIU-1\",\"type\":\"status\",\"infoTimestamp\":{ms},\"gpsTimestamp\":{ms},\
         \"postion\":{{\"lat\":52.5126,\"lng\":13.4198}},\"isAccOn\":1,\"nowSpeed\":23,\
         \"batteries\":{{\"compartmentA\":{{\"isConnected\":true,\"batteryCharging\":68}}}}}}]'"
    )
}

fn segway(webhooks: &str, now: Timestamp) -> String {
    let ms = now.as_millisecond();
    // In the signature's order, and without characters that a form must encode.
    let form = format!(
        "gpsUtcTime={ms}&iotCode=860000000000017&latitude=52.520008&locked=true&longitude=13.404954\
         &online=true&powerPercent=78&speed=0&statusUtcTime={ms}"
    );
    let signature = segway_signature(&form, SEGWAY_SECRET);
    format!("curl -i {webhooks}/segway -d '{form}&signature={signature}'")
}

fn invers(webhooks: &str, now: Timestamp) -> String {
    // Whole seconds are easier to read on a command line.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    format!(
        "curl -i {webhooks}/invers -H 'authorization: Bearer {INVERS_TOKEN}' -H 'content-type: application/json' \
         -d '{{\"metadata\":{{\"id\":\"DEMO-{ms}\",\"type\":\"VehicleStateRecorded\",\"schema_major_version\":2,\
         \"occurred_at\":\"{now}\"}},\"data\":{{\"vehicle_id\":\"DEMO1\",\"vehicle_state\":{{\
         \"position\":{{\"timestamp\":\"{now}\",\"value\":{{\"lat\":50.834,\"lon\":8.0219}}}},\
         \"central_lock\":{{\"timestamp\":\"{now}\",\"value\":\"UNLOCKED\"}}}}}}}}'",
        ms = now.as_millisecond(),
    )
}

/// MD5 of the sorted parameters and the client secret. The demo has its own implementation, like the
/// simulator, so that it does not sign with the code that verifies.
fn segway_signature(sorted_form: &str, secret: &str) -> String {
    let digest = Md5::digest(format!("{sorted_form}&client_secret={secret}"));
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::segway_signature;

    #[test]
    fn the_signature_is_the_one_segways_integrators_compute() {
        let form = "code=1&iotCode=860000000000017&platformCode=E00001&vehicleCode=SGWTEST0001";
        assert_eq!(segway_signature(form, "test-secret-0001"), "78d7efaaa46b54496b618751360b74e7");
    }
}
