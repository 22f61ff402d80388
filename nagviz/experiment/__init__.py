"""How a run is made: config, data, models, training, reports. The only room that imports the others."""
