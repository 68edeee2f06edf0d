// A client of the family Sarama (Go), for tests of the broker. Built by ../test_sarama.py from Debian's package.
//
//	sarama produce BOOTSTRAP VERSION TOPIC CODEC COUNT    prints "value partition offset" for each message
//	sarama consume BOOTSTRAP VERSION TOPIC COUNT          prints "value partition offset"
//	sarama group   BOOTSTRAP VERSION TOPIC GROUP COUNT    the same as a member of a group, whose offsets it commits
//	sarama admin   BOOTSTRAP VERSION TOPIC                creates, extends, configures and deletes a topic
//
// VERSION is the Kafka version whose requests it sends: Sarama of this age does not ask the broker. CODEC "idempotent"
// is an idempotent producer that does not compress. It ends with status 1 and a text when anything fails.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/sarama"
)

// Nothing takes so long, and what may pass is tried again until then.
const timeout = 300 * time.Second
const tries = 1000

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "idempotent": sarama.CompressionNone,
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sarama:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func configure(version string) *sarama.Config {
	config := sarama.NewConfig()
	var err error
	config.Version, err = sarama.ParseKafkaVersion(version)
	check(err)
	config.ClientID = "sarama"
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	config.Admin.Timeout = timeout
	config.Producer.Timeout = timeout
	config.Producer.Retry.Max = tries
	config.Metadata.Retry.Max = tries
	config.Consumer.Group.Session.Timeout = 60 * time.Second
	return config
}

func produce(servers []string, config *sarama.Config, topic string, codec string, count int) {
	config.Producer.Compression = codecs[codec]
	if codec == "idempotent" {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer(servers, config)
	check(err)
	messages := []*sarama.ProducerMessage{}
	for i := 0; i < count; i++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(fmt.Sprintf("key-%d", i)),
			Value: sarama.StringEncoder(fmt.Sprintf("value-%d", i)),
		})
	}
	check(producer.SendMessages(messages))
	for i, message := range messages {
		fmt.Printf("value-%d %d %d\n", i, message.Partition, message.Offset)
	}
	check(producer.Close())
}

func show(message *sarama.ConsumerMessage) {
	fmt.Printf("%s %d %d\n", message.Value, message.Partition, message.Offset)
}

func consume(servers []string, config *sarama.Config, topic string, count int) {
	consumer, err := sarama.NewConsumer(servers, config)
	check(err)
	partitions, err := consumer.Partitions(topic)
	check(err)
	messages := make(chan *sarama.ConsumerMessage)
	for _, id := range partitions {
		partition, err := consumer.ConsumePartition(topic, id, sarama.OffsetOldest)
		check(err)
		go func() {
			for message := range partition.Messages() {
				messages <- message
			}
		}()
		go func() {
			for err := range partition.Errors() {
				check(err)
			}
		}()
	}
	for i := 0; i < count; i++ {
		show(<-messages)
	}
}

// A member of a group that leaves it after so many messages. Each partition has a goroutine of its own.
type member struct {
	lock sync.Mutex
	left int
	done context.CancelFunc
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// Whether it was still wanted.
func (m *member) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.left == 0 {
		return false
	}
	show(message)
	session.MarkMessage(message, "")
	m.left--
	if m.left == 0 {
		m.done()
	}
	return true
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		if !m.take(session, message) {
			return nil
		}
	}
	return nil
}

func group(servers []string, config *sarama.Config, topic string, name string, count int) {
	consumer, err := sarama.NewConsumerGroup(servers, name, config)
	check(err)
	go func() {
		for err := range consumer.Errors() {
			check(err)
		}
	}()
	ctx, done := context.WithCancel(context.Background())
	m := &member{left: count, done: done}
	for ctx.Err() == nil {
		check(consumer.Consume(ctx, []string{topic}, m))
	}
	check(consumer.Close())
}

func admin(servers []string, config *sarama.Config, topic string) {
	cluster, err := sarama.NewClusterAdmin(servers, config)
	check(err)
	retention := "123456"
	check(cluster.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention},
	}, false))
	check(cluster.CreatePartitions(topic, 3, nil, false))
	segment := "1048576"
	check(cluster.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &segment}, false))
	entries, err := cluster.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms", "segment.bytes"},
	})
	check(err)
	for _, entry := range entries {
		fmt.Printf("%s=%s\n", entry.Name, entry.Value)
	}
	check(cluster.DeleteTopic(topic))
	check(cluster.Close())
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: see main.go")
		os.Exit(2)
	}
	time.AfterFunc(timeout, func() { check(fmt.Errorf("not done within %v", timeout)) })
	servers, config, topic := strings.Split(os.Args[2], ","), configure(os.Args[3]), os.Args[4]
	switch os.Args[1] {
	case "produce":
		produce(servers, config, topic, os.Args[5], number(os.Args[6]))
	case "consume":
		consume(servers, config, topic, number(os.Args[5]))
	case "group":
		group(servers, config, topic, os.Args[5], number(os.Args[6]))
	case "admin":
		admin(servers, config, topic)
	}
}
