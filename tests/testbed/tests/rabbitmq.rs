//! Tests the testbed's RabbitMQ.

use fleet_testbed::{AmqpLogin, INVERS_QUEUES, RabbitMq, RabbitMqOptions};

#[test]
fn a_rabbitmq_has_its_queues_and_starts_again_after_kill_9() {
    let mut rabbit = RabbitMq::private(&RabbitMqOptions::of_invers().unwrap()).unwrap();
    let queues = |rabbit: &RabbitMq| {
        let listed =
            rabbit.ctl(&["list_queues", "--vhost", "customer", "--no-table-headers", "name", "type"]);
        let mut lines: Vec<_> = listed.unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let [quorum, classic] = INVERS_QUEUES;
    let expected = [format!("{quorum}\tquorum"), format!("{classic}\tclassic")];
    assert_eq!(queues(&rabbit), expected);
    let url = rabbit.url(AmqpLogin::Consumer);
    assert!(url.starts_with("amqps://f-FLT23-c-CNSM23A:") && url.ends_with("/customer"), "{url}");
    rabbit.sync_queues().unwrap();
    rabbit.kill().unwrap();
    assert!(rabbit.ctl(&["list_queues", "--vhost", "customer"]).is_err(), "killed, it must not answer");
    rabbit.restart().unwrap();
    assert_eq!(queues(&rabbit), expected);
    assert_eq!(rabbit.url(AmqpLogin::Consumer), url, "the port stays");
}
