//! Publish and subscribe: messages to all subscribers of a topic.
