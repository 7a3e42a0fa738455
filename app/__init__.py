"""Sauda: an order engine for Indian markets that places each order once, or says exactly why not."""
