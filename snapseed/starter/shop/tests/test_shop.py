def test_orders_go_with_their_customer(snapseed_connection):
    snapseed_connection.execute("DELETE FROM customers WHERE id <= 25")
    assert snapseed_connection.execute("SELECT FROM orders WHERE customer_id <= 25").fetchall() == []
