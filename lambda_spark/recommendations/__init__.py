"""What is recommended to a user and in which order, for a batch of users over Arrow and for a single user in Python.

Trends of a window, a user's recent brands and the products to exclude come in.
Out go ranked products with the evidence for each, as columns of schemas.RECOMMENDATIONS.
"""
