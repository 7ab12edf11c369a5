"""Events from the shop's RabbitMQ broker, through the same checks and onto the same log as those over HTTP."""
