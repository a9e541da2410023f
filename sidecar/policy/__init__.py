"""Bytes → Generation → Ruling. Pure: reads only its arguments; knows neither files nor tokens nor the clock."""
