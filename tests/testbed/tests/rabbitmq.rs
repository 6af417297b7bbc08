//! Tests the testbed's RabbitMQ.

use fleet_testbed::{AmqpLogin, RabbitMq, RabbitMqOptions, ServerCertificate};

#[test]
fn a_rabbitmq_has_its_queues_and_starts_again_after_kill_9() {
    let options = RabbitMqOptions {
        quorum_queues: vec!["states".to_owned()],
        classic_queues: vec!["alarms".to_owned()],
        ..RabbitMqOptions::new(ServerCertificate::for_localhost().unwrap())
    };
    let mut rabbit = RabbitMq::private(&options).unwrap();
    let queues = |rabbit: &RabbitMq| {
        let listed =
            rabbit.ctl(&["list_queues", "--vhost", "customer", "--no-table-headers", "name", "type"]);
        let mut lines: Vec<_> = listed.unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expected = ["alarms\tclassic", "states\tquorum"];
    assert_eq!(queues(&rabbit), expected);
    let url = rabbit.url(AmqpLogin::Consumer);
    assert!(url.starts_with("amqps://f-FLT23-c-CNSM23A:") && url.ends_with("/customer"), "{url}");
    rabbit.kill().unwrap();
    assert!(rabbit.ctl(&["list_queues", "--vhost", "customer"]).is_err(), "killed, it must not answer");
    rabbit.restart().unwrap();
    assert_eq!(queues(&rabbit), expected);
    assert_eq!(rabbit.url(AmqpLogin::Consumer), url, "the port stays");
}
