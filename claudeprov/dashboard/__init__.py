"""What operators watch claudeprov with: a Grafana dashboard and Prometheus rules, made from the table of metrics."""
